# As deep as ever, and a module first touched at the bottom is still loaded.
import sys


def down(n):
    return n if n == 0 else down(n - 1)


def deepest():
    low, high = 1, sys.getrecursionlimit()
    while low < high:
        middle = (low + high + 1) // 2
        try:
            down(middle)
            low = middle
        except RecursionError:
            high = middle - 1
    return low


print(deepest())
import os

print(os.path.join("a", "b"))
