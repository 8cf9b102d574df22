#!/usr/bin/env python3
"""build.py TO: the handbook as HTML and as text in the folder TO. The pages use headings,
paragraphs, lists, tables, code and links, and nothing else of Markdown."""

import html
import pathlib
import re
import sys

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1a1a1a;background:#fff}pre,code{font:14px/1.45 monospace;background:#f2f2f0}"
    "pre{padding:.75rem;overflow:auto}code{padding:.1em .25em}pre code{padding:0}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.3rem .5rem;"
    "text-align:left;vertical-align:top}a{color:#0b57a4}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}"
    "pre,code{background:#262626}td,th{border-color:#555}a{color:#8ab8ee}}"
)


def inline(text):
    parts = re.split(r"(`[^`]+`)", text)
    out = []
    for part in parts:
        if part.startswith("`"):
            out.append("<code>" + html.escape(part[1:-1]) + "</code>")
            continue
        part = html.escape(part, quote=False)
        part = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", part)
        part = re.sub(
            r"\[([^\]]+)\]\(([^)]+?)(\.md)?\)",
            lambda found: '<a href="%s%s">%s</a>'
            % (found[2], ".html" if found[3] else "", found[1]),
            part,
        )
        out.append(part)
    return "".join(out)


def cells(line):
    return [inline(cell.strip()) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def body(text):
    lines, out, place = text.splitlines(), [], 0
    while place < len(lines):
        line = lines[place]
        if line.startswith("```"):
            end = place + 1
            while not lines[end].startswith("```"):
                end += 1
            code = html.escape("\n".join(lines[place + 1 : end]))
            out.append("<pre><code>%s</code></pre>" % code)
            place = end + 1
        elif line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            out.append("<h%d>%s</h%d>" % (level, inline(line.lstrip("# ")), level))
            place += 1
        elif line.startswith("|"):
            rows = []
            while place < len(lines) and lines[place].startswith("|"):
                rows.append(lines[place])
                place += 1
            out.append("<table><tr>%s</tr>" % "".join("<th>%s</th>" % c for c in cells(rows[0])))
            for row in rows[2:]:
                out.append("<tr>%s</tr>" % "".join("<td>%s</td>" % c for c in cells(row)))
            out.append("</table>")
        elif re.match(r"(- |\d+\. )", line):
            kind = "ul" if line.startswith("- ") else "ol"
            items = []
            while place < len(lines) and re.match(r"(- |\d+\. |  )", lines[place]):
                if lines[place].startswith("  "):
                    items[-1] += " " + lines[place].strip()
                else:
                    items.append(re.sub(r"^(- |\d+\. )", "", lines[place]))
                place += 1
            out.append("<%s>%s</%s>" % (kind, "".join("<li>%s</li>" % inline(i) for i in items), kind))
        elif line.strip():
            words = []
            while place < len(lines) and lines[place].strip() and not re.match(r"(```|#|\||- )", lines[place]):
                words.append(lines[place])
                place += 1
            out.append("<p>%s</p>" % inline(" ".join(words)))
        else:
            place += 1
    return "\n".join(out)


def page(title, content):
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<title>%s</title>\n<style>%s</style>\n%s\n</html>\n'
        % (html.escape(title), STYLE, content)
    )


def main():
    here, to = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])
    to.mkdir(parents=True, exist_ok=True)
    entries = []
    for source in sorted(here.glob("*.md")):
        text = source.read_text()
        title = text.splitlines()[0].lstrip("# ")
        entries.append('<li><a href="%s.html">%s</a></li>' % (source.stem, html.escape(title)))
        back = '<p><a href="index.html">The handbook</a></p>\n'
        (to / (source.stem + ".html")).write_text(page(title + " – Cairn", back + body(text)))
        (to / (source.stem + ".txt")).write_text(text)
    index = "<h1>The operator's handbook of Cairn</h1>\n<ol>%s</ol>" % "".join(entries)
    (to / "index.html").write_text(page("Cairn: the operator's handbook", index))


main()
