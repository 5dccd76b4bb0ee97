"""Write the creators and licences of furniture catalogues into NOTICE.

python runs/furniture_notice.py CATALOGUE.sh3f... [--notice NOTICE] [--source TEXT]

Replaces what stands between the two marks of the section, or adds the section; everything else stays.
One line per creator and catalogue: how many models, under which licence.
"""

import argparse
import re
from collections import Counter
from pathlib import Path

from stablenormal.data.synthetic.catalogues import Entry, entries

BEGIN = "---- furniture models: begin ----"
END = "---- furniture models: end ----"
SOURCE = "Sweet Home 3D, additional models 1.8, http://www.sweethome3d.com"


def main() -> None:
    """Write the section and say how many creators it names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogues", nargs="+", type=Path, help=".sh3f files, or a folder of them")
    parser.add_argument("--notice", type=Path, default=Path("NOTICE"))
    parser.add_argument("--source", default=SOURCE, help="where the catalogues come from")
    options = parser.parse_args()
    models = Counter(
        (entry.source, licence(entry), entry.creator or "unknown") for entry in entries(options.catalogues)
    )
    lines = [
        BEGIN,
        "Models of these creators furnish the rendered scenes that weights are trained on.",
        f"The models are not part of this package. They come from {options.source}.",
    ]
    catalogue = None
    for (source, terms, creator), count in sorted(
        models.items(), key=lambda one: (*one[0][:2], one[0][2].lower())
    ):
        if catalogue != source:
            lines += ["", f"{source}: {terms}"]
            catalogue = source
        lines.append(f"  {creator} - {count} model{'s' if count > 1 else ''} - {short(terms)} - {source}")
    section = "\n".join([*lines, END])
    old = options.notice.read_text(encoding="utf-8") if options.notice.exists() else ""
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2] if rest else ""
    joined = "\n\n".join(part for part in (before.strip(), section, after.strip()) if part)
    options.notice.write_text(joined + "\n", encoding="utf-8")
    print(f"{options.notice}: {len({key[2] for key in models})} creators of {sum(models.values())} models")


def licence(entry: Entry) -> str:
    """The catalogue's licence in its own words, with the link that its LICENSE.TXT gives."""
    try:
        text = entry.read("LICENSE.TXT").decode("latin-1")
    except (KeyError, OSError):
        text = ""
    link = re.search(r"https?://creativecommons\.org/\S+", text)
    words = " ".join(entry.licence.split()) or "no licence stated"
    return f"{words} ({link[0].rstrip('.')})" if link else words


def short(terms: str) -> str:
    """A short name of a licence."""
    if "ublic" in terms and "omain" in terms or "zero" in terms:
        return "CC0 1.0"
    if "Attribution 3.0 United States" in terms:
        return "CC BY 3.0 US"
    return "CC BY 3.0" if "Attribution 3.0" in terms else terms


if __name__ == "__main__":
    main()
