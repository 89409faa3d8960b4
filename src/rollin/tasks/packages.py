"""Real packages to put faults into: pinned source distributions from PyPI, with the modules whose tests are quick.

They are downloaded by pip when first needed, checked against a hash, unpacked into the cache and never changed there.
All are permissively licensed pure Python; they stay out of rollin's own repository.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rollin.errors import UserError
from rollin.tasks.cache import cache_folder
from rollin.tasks.units import Unit


@dataclass(frozen=True)
class Package:
    """One pinned source distribution."""

    name: str
    version: str
    sha256: str
    modules: Mapping[str, tuple[str, ...]]
    """Source file -> the test files that cover it, offline, without further dependencies, in under two seconds."""
    left_out: tuple[str, ...] = ()
    """Files that would keep the tests from running."""

    @property
    def requirement(self) -> str:
        """`name==version`."""
        return f"{self.name}=={self.version}"


def _beside(folder: str, tests: str, *names: str) -> dict[str, tuple[str, ...]]:
    """`folder/name.py` tested by `tests/test_name.py`."""
    return {f"{folder}/{name}.py": (f"{tests}/test_{name}.py",) for name in names}


PACKAGES = (
    Package(
        "addict",
        "2.4.0",
        "b3b2210e0e067a281f5646c8c5db92e99b7231ea8b0eb5f74dbdf9e259d4e494",
        {"addict/addict.py": ("test_addict.py",)},
    ),
    Package(
        "boltons",
        "25.0.0",
        "e110fbdc30b7b9868cb604e3f71d4722dd8f4dcb4a5ddd06028ba8f1ab0b5ace",
        _beside(
            *("boltons", "tests"),
            *("strutils", "iterutils", "listutils", "setutils", "dictutils", "mathutils"),
            *("statsutils", "formatutils", "timeutils", "urlutils", "queueutils", "cacheutils"),
        ),
        left_out=("tests/conftest.py",),  # its hook's signature is older than pytest 9
    ),
    Package(
        "docstring-parser",
        "0.15",
        "48ddc093e8b1865899956fcc03b03e66bb7240c310fac5af81814580c55bf682",
        _beside("docstring_parser", "docstring_parser/tests", "epydoc", "google", "numpydoc", "rest"),
    ),
    Package(
        "eradicate",
        "2.3.0",
        "06df115be3b87d0fc1c483db22a2ebb12bcf40585722810d809cc770f5031c37",
        {"eradicate.py": ("test_eradicate.py",)},
    ),
    Package(
        "geojson",
        "3.3.0",
        "92e83b9cb378a450b42f1207bb9b2a031f9fc89185f335153c44369b8b8b71fd",
        {
            "geojson/base.py": ("tests/test_base.py", "tests/test_features.py", "tests/test_geo_interface.py"),
            "geojson/geometry.py": ("tests/test_coords.py", "tests/test_validation.py"),
        },
    ),
    Package(
        "hyperlink",
        "17.3.1",
        "bc4ffdbde9bdad204d507bd8f554f16bba82dd356f6130cb16f41422909c33bc",
        {"hyperlink/_url.py": ("hyperlink/test/test_scheme_registration.py", "hyperlink/test/test_url.py")},
    ),
    Package(
        "inflection",
        "0.5.1",
        "1a29730d366e996aaacffb2f1f1cb9593dc38e2ddd30c91250c6dde09ea9b417",
        {"inflection/__init__.py": ("test_inflection.py",)},
    ),
    Package(
        "iso8601",
        "0.1.16",
        "36532f77cc800594e8f16641edae7f1baf7932f05d8e508545b95fc53c6dc85b",
        {"iso8601/iso8601.py": ("iso8601/test_iso8601.py",)},
    ),
    Package(
        "jmespath",
        "1.0.1",
        "90261b206d6defd58fdd5e85f478bf633a2901798906be2ad389150c5c60edbe",
        {
            "jmespath/lexer.py": ("tests/test_parser.py",),
            "jmespath/parser.py": ("tests/test_parser.py",),
        },
    ),
    Package(
        "more-itertools",
        "10.5.0",
        "5482bfef7849c25dc3c6dd53a6173ae4795da2a41a80faea6700d9f5846c5da6",
        _beside("more_itertools", "tests", "recipes"),
    ),
    Package(
        "ordered-set",
        "4.1.0",
        "694a8e44c87657c59292ede72891eb91d34131f6531463aab3009191c77364a8",
        {"ordered_set/__init__.py": ("test/test_ordered_set.py",)},
        left_out=("pytest.ini",),  # runs doctests, of all that is named *.py
    ),
    Package(
        "parse",
        "1.20.2",
        "b41d604d16503c79d81af5165155c0b20f6c8d6c559efa66b4b695c3e5a0a0ce",
        {"parse.py": ("tests/test_parse.py", "tests/test_pattern.py", "tests/test_search.py")},
    ),
    Package(
        "pystache",
        "0.6.8",
        "3707518e6a4d26dd189b07c10c669b1fc17df72684617c327bd3550e7075c72c",
        {
            **_beside("pystache", "pystache/tests", "context", "loader", "locator", "renderengine", "renderer"),
            "pystache/parser.py": ("pystache/tests/test_parser.py", "pystache/tests/test_renderengine.py"),
        },
    ),
    Package(
        "schema",
        "0.7.7",
        "7da553abd2958a19dc2547c388cde53398b39196175a9be59ea1caf5ab0a1807",
        {"schema.py": ("test_schema.py",)},
    ),
    Package(
        "semver",
        "2.9.1",
        "723be40c74b6468861e0e3dbb80a41fc3b171a2a45bf956c245304773dc06055",
        {"semver.py": ("test_semver.py",)},
        left_out=("setup.cfg",),  # asks for a plugin of pytest
    ),
    Package(
        "sqlparse",
        "0.4.4",
        "d446183e84b8349fa3061f0fe7f06ca94ba65b426946ffebe6e3e8295332420c",
        {
            "sqlparse/engine/grouping.py": ("tests/test_grouping.py",),
            "sqlparse/engine/statement_splitter.py": ("tests/test_split.py",),
            "sqlparse/filters/others.py": ("tests/test_format.py",),
            "sqlparse/filters/reindent.py": ("tests/test_format.py",),
            "sqlparse/formatter.py": ("tests/test_format.py",),
            "sqlparse/lexer.py": ("tests/test_tokenize.py",),
        },
    ),
    Package(
        "tinydb",
        "4.9.0",
        "6928b1fa785186bda7952a0ba05aaeedc883ede565ca9c7d608de44e5e75de70",
        _beside("tinydb", "tests", "middlewares", "operations", "queries", "utils"),
    ),
    Package(
        "toolz",
        "1.0.0",
        "2c86e3d9a04798ac556793bced838816296a2f085017664e4995cb40a1047a02",
        _beside("toolz", "toolz/tests", "itertoolz", "dicttoolz", "functoolz"),
    ),
    Package(
        "treelib",
        "1.5.5",
        "44695f7048b0bd82b45a4fe976611f9fb52902506249d84db255976a5e8738e0",
        _beside("treelib", "tests", "node", "tree"),
    ),
    Package(
        "u-msgpack-python",
        "2.8.0",
        "b801a83d6ed75e6df41e44518b4f2a9c221dc2da4bcd5380e3a0feda520bc61a",
        {"umsgpack/__init__.py": ("test_umsgpack.py",)},
    ),
    Package(
        "uritemplate",
        "4.1.1",
        "4346edfc5c3b79f694bccd6d6099a322bbeb628dbf2cd86eea55a456ce5124f0",
        {
            "uritemplate/template.py": ("tests/test_uritemplate.py",),
            "uritemplate/variable.py": ("tests/test_uritemplate.py",),
        },
    ),
    Package(
        "voluptuous",
        "0.16.0",
        "006535e22fed944aec17bef6e8725472476194743c87bd233e912eb463f8ff05",
        {f"voluptuous/{name}.py": ("voluptuous/tests/tests.py",) for name in ("schema_builder", "util", "validators")},
    ),
    Package(
        "webcolors",
        "1.8.1",
        "030562f624467a9901f0b455fef05486a88cfb5daa1e356bd4aacea043850b59",
        {
            "webcolors.py": tuple(
                f"tests/test_{name}.py"
                for name in ("conformance", "hexadecimal", "html5", "integer", "name", "normalization", "percent")
            )
        },
    ),
    Package(
        "whatthepatch",
        "1.0.2",
        "c540ea59173e0a291e19c742dd8b406c56e2be039a600edb7c6fc3ae4bbdfa9f",
        _beside("whatthepatch", "tests", "apply", "patch"),
    ),
    Package(
        "xmltodict",
        "1.0.4",
        "6d94c9f834dd9e44514162799d344d815a3a4faec913717a9ecbfa5be1bb8e61",
        {"xmltodict.py": ("tests/test_dicttoxml.py",)},
    ),
)


def package_units() -> list[Unit]:
    """Every module of every package, in the order above; downloads what is not there yet."""
    return [
        Unit(
            "package",
            package.name,
            f"pypi:{package.requirement}",
            path,
            tests,
            {name: (unpacked(package.requirement) / name).read_text() for name in (path, *tests)},
        )
        for package in PACKAGES
        for path, tests in package.modules.items()
    ]


def unpacked(requirement: str) -> Path:
    """The folder of a package's unpacked sources. UserError for one not listed here, or that can't be had."""
    package = next((package for package in PACKAGES if package.requirement == requirement), None)
    if package is None:
        known = ", ".join(package.requirement for package in PACKAGES)
        raise UserError(f"{requirement} is not among the packages that rollin puts faults into; those are {known}")
    place = cache_folder() / "packages" / f"{package.name}-{package.version}"
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        sources = _unpack(_download(package, Path(work)), Path(work))
        for name in package.left_out:
            (sources / name).unlink()
        for folder in (sources / "docs", *sources.glob("*.egg-info")):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another process was first: its folder is the same
            sources.rename(place)
    return place


def _download(package: Package, folder: Path) -> Path:
    """The source distribution, its hash checked."""
    listed = folder / "requirements.txt"
    listed.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package.name]
    done = subprocess.run([*command, "--dest", str(folder), "-r", str(listed)], capture_output=True, text=True)
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no archive came")
        raise UserError(
            f"cannot download {package.requirement} with pip ({reason.strip()}); check the network and pip's index,"
            " or build tasks from katas, which need neither"
        )
    if hashlib.sha256(archives[0].read_bytes()).hexdigest() != package.sha256:
        raise UserError(
            f"what pip downloaded as {package.requirement} has another hash than rollin knows; don't use it"
        )
    return archives[0]


def _unpack(archive: Path, folder: Path) -> Path:
    """The one folder inside an archive, unpacked without links or paths that lead out of it."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "sources", filter="data")
    (sources,) = (folder / "sources").iterdir()
    return sources
