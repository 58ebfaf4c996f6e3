# What must not be the same in two children; `random` does it by itself.
import sys

TWISTER_WORDS = 624


def find_twister():
    """Where numpy's global generator keeps its words, and how many of them it has given out. Any words will do, and
    writing them costs a child a tenth of what a call of `seed` does."""
    try:
        random = sys.modules["numpy.random"]
        # Of normal numbers two are made at a time: none is kept for later.
        random.seed()
        generator = random.mtrand._rand._bit_generator
        ctypes = sys.modules["ctypes"]
        state, place = generator.state, generator.ctypes.state_address
    except (KeyError, AttributeError):
        return None
    if state["bit_generator"] != "MT19937":
        return None
    words = (ctypes.c_char * (4 * TWISTER_WORDS)).from_address(place)
    position = ctypes.c_int.from_address(place + len(words))
    is_there = words.raw == state["state"]["key"].tobytes() and position.value == state["state"]["pos"]
    return (words, position) if is_there else None


def renew(urandom, twister):
    modules = sys.modules
    if "numpy.random" in modules:
        if twister:
            words, position = twister
            words.raw, position.value = urandom(len(words)), TWISTER_WORDS
        else:
            modules["numpy.random"].seed()
    if "ssl" in modules:
        modules["ssl"].RAND_add(urandom(32), 32.0)
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = None
        modules["tempfile"].tempdir = None
    if "multiprocessing.process" in modules:
        modules["multiprocessing.process"].current_process().authkey = urandom(32)
