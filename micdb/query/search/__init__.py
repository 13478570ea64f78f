"""Search by example: which images, and which places in them, are most like this one."""
