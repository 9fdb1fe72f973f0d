"""For mkdocs: the pages link to files beside docs/, which the site does not have. Those links become plain text,
but for the README's, whose place the first page takes."""
import re


def on_page_markdown(markdown, **_):
    markdown = re.sub(r"\[([^\]]+)\]\(\.\./README\.md(#[^)]*)?\)", r"\1 (README)", markdown)
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)
