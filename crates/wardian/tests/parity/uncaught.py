# A traceback shows the program's frames alone.
import json


def deeper(text):
    try:
        json.loads(text)
    except ValueError as error:
        raise RuntimeError("outer") from error


deeper("{")
