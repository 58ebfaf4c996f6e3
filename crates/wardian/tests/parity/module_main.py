import sys, __main__; print(sys.argv[1:], __name__, __spec__.name, __main__.__file__ == __file__, sys._getframe().f_back.f_code.co_name)
