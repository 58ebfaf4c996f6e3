"""The interface of CodeJail, contained by wardian."""

#: The release of ``edx-codejail`` whose interface this is.
__version__ = "4.1.1"
