"""The kinds of file that are rendered, each written by a few lines here, with what a viewer of it sees.

One table (`table.KINDS`) for three readers: the tests that compare our renderer with libvips, the page
docs/formats.md (`python -m hack.formats`), and the fuzzer, which damages these files.
"""
