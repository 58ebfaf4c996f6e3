import sys; print("main", __package__, sys.path[0] != ""); raise ValueError("in the package")
