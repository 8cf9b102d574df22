#!/usr/bin/env python3
"""licences.py TOP LICENCES SBOM VERSION: what is linked into the binary, with the licences of
each part, as text and as an SBOM (CycloneDX 1.5)."""

import hashlib
import json
import pathlib
import subprocess
import sys
import uuid

TARGET = "x86_64-unknown-linux-gnu"
NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE")


def packages(top):
    """The packages that the binary is made of: what its crates use, tests left out."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline",
               "--filter-platform", TARGET]
    metadata = json.loads(subprocess.check_output(command, cwd=top))
    known = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(p["id"] for p in metadata["packages"] if p["name"] == "cairn" and not p["source"])
    found, waiting, edges = set(), [root], {}
    while waiting:
        this = waiting.pop()
        if this in found:
            continue
        found.add(this)
        normal = [dep["pkg"] for dep in nodes[this]["deps"]
                  if any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"])]
        edges[this] = normal
        waiting.extend(normal)
    return root, [known[one] for one in found], edges


def of_the_system():
    """What the toolchain links in beside the packages: name, version, licence, and its text."""
    def said(*command):
        return subprocess.check_output(command, text=True).splitlines()[0].split()[-1]
    rust = subprocess.check_output(["rustc", "--version"], text=True).split()[1]
    gcc = said("gcc", "-dumpfullversion")
    return [
        ("glibc", said("ldd", "--version"), "LGPL-2.1-or-later", "/usr/share/doc/libc6-dev/copyright"),
        ("gcc-runtime", gcc, "GPL-3.0-or-later WITH GCC-exception-3.1",
         "/usr/share/doc/gcc-%s-base/copyright" % gcc.split(".")[0]),
        ("rust-std", rust, "MIT OR Apache-2.0", None),
    ]


def purl(package):
    return "pkg:cargo/%s@%s" % (package["name"], package["version"])


def main():
    top, licences, sbom, version = sys.argv[1:]
    root, found, edges = packages(top)
    found.sort(key=lambda package: (package["name"], package["version"]))
    foreign = [package for package in found if package["source"]]
    texts = {}
    for package in foreign:
        folder = pathlib.Path(package["manifest_path"]).parent
        for path in sorted(folder.rglob("*")):
            depth = len(path.relative_to(folder).parts)
            if path.is_file() and depth <= 2 and path.name.upper().startswith(NAMES):
                text = path.read_text(errors="replace").strip()
                if text and path.suffix not in (".rs", ".html"):
                    texts.setdefault(text, []).append("%s %s" % (package["name"], package["version"]))
    system = of_the_system()
    for name, its_version, _, path in system:
        if path and pathlib.Path(path).exists():
            texts["%s\n(as Debian has it)" % pathlib.Path(path).read_text(errors="replace").strip()] = \
                ["%s %s" % (name, its_version)]
    with open(licences, "w") as out:
        out.write("Cairn is under the Apache License, version 2.0.\n\n")
        out.write("Linked into its binary, or used to build it, are:\n\n")
        for package in foreign:
            out.write("%s %s: %s\n" % (package["name"], package["version"], package["license"]))
        for name, its_version, licence, _ in system:
            out.write("%s %s: %s\n" % (name, its_version, licence))
        for text, names in sorted(texts.items(), key=lambda item: item[1]):
            out.write("\n%s\n%s\n\n%s\n" % ("=" * 78, ", ".join(names), text))
    names = {package["id"]: purl(package) for package in found}
    components = [{
        "type": "library", "bom-ref": purl(package), "name": package["name"],
        "version": package["version"], "purl": purl(package),
        "licenses": [{"expression": " ".join(package["license"].replace("/", " OR ").split())}] if package["license"] else [],
    } for package in foreign]
    components += [{"type": "library", "bom-ref": "system:" + name, "name": name, "version": its_version,
                    "licenses": [{"expression": licence}]} for name, its_version, licence, _ in system]
    own = [{"type": "library", "bom-ref": purl(package), "name": package["name"],
            "version": package["version"], "licenses": [{"expression": "Apache-2.0"}]}
           for package in found if not package["source"] and package["id"] != root]
    body = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": names[root], "name": "cairn",
                                   "version": version, "licenses": [{"expression": "Apache-2.0"}]}},
        "components": own + components,
        "dependencies": [{"ref": names[one], "dependsOn": sorted(
                              {names[dep] for dep in deps} |
                              ({"system:" + one[0] for one in system} if one == root else set()))}
                         for one, deps in sorted(edges.items(), key=lambda item: names[item[0]])],
    }
    # The same contents have the same number, so that a build can be repeated.
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()[:16]
    body["serialNumber"] = "urn:uuid:%s" % uuid.UUID(bytes=digest, version=4)
    with open(sbom, "w") as out:
        json.dump(body, out, indent=1)
        out.write("\n")


main()
