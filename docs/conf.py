"""The documentation as a site, built by `make docs` into site/.

`site` lies next to `docs`, so a relative link from a page to a file of the repository leads there
from the built page, too. A site that is published elsewhere needs the address of that file:
`-D source_url=https://host/path/of/the/repository`.
"""

import os
import shutil
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from classwire import __version__
from scripts.navigation import DOCS, toctrees
from scripts.pages import ROOT

project, author, copyright = "Classwire", "The Classwire authors", "The Classwire authors"
version = release = __version__
extensions = ["myst_parser"]
root_doc = "README"
html_theme = "furo"
html_title = "Classwire"
html_copy_source = False
myst_heading_anchors = 4


class LinksToFiles(SphinxTransform):
    """Makes links that leave docs/ plain links; a link to a missing file is a warning."""

    default_priority = 1

    def apply(self) -> None:
        """Replace the links of one page."""
        folder = (DOCS / self.env.docname).parent
        links = [*self.document.findall(addnodes.pending_xref)]
        for link in (*links, *self.document.findall(addnodes.download_reference)):
            suffix = ".md" if link.get("refdomain") == "doc" else ""
            start = DOCS if suffix else folder
            to = Path(os.path.normpath(start / f"{link['reftarget']}{suffix}"))
            if to.is_relative_to(DOCS):
                continue
            if not to.exists():
                logging.getLogger(__name__).warning("no such file: %s", to, location=link)
            base = self.config.source_url
            uri = f"{base}/{to.relative_to(ROOT)}" if base else os.path.relpath(to, folder)
            link.replace_self(nodes.reference("", "", *link.children, refuri=uri))


def navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add the hidden `toctree` directives to a page."""
    source[0] += "\n\n" + toctrees(Path(app.srcdir) / f"{docname}.md")


def front_page(app: Sphinx, exception: Exception | None) -> None:
    """Make the front page the site's index."""
    if exception is None and app.builder.name == "html":
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    """Connect the parts above."""
    app.add_config_value("source_url", "", "env", str)
    app.add_transform(LinksToFiles)
    app.connect("source-read", navigation)
    app.connect("build-finished", front_page)
