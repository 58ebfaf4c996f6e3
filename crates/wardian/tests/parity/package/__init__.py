import sys; print("init", sys.argv[0])
