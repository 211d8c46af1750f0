"""`python -m hack.formats`: write docs/formats.md anew."""

from .page import PAGE, page

if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8") if PAGE.exists() else ""), "utf-8")
