"""Code: one hash of what a result depends on, found without importing it."""

import pytest

from trait_lib import ROOT, code


def names(sources):
    return {str(file.relative_to(ROOT)) for file in code.source_files(sources)}


def test_imports_are_followed_through_the_library():
    reached = names(["from trait_lib import params, show"])
    assert {"trait_lib/__init__.py", "trait_lib/show.py", "trait_lib/params.py"} <= reached
    assert "trait_lib/records.py" in reached  # show imports it
    assert (
        "trait_lib/repo/chain.py" not in reached
        and "trait_lib/contamination/__init__.py" not in reached
    )


@pytest.mark.parametrize(
    "source",
    [
        "import trait_lib.contamination",
        "import trait_lib.contamination as c",
        "from trait_lib.contamination import hits",
        "from trait_lib import contamination",
        "def late():\n    from trait_lib import contamination",
        "command = ['-m', 'trait_lib.contamination']",  # started as a program of its own
    ],
)
def test_every_way_to_name_a_module_counts(source):
    assert "trait_lib/contamination/__init__.py" in names([source])


def test_names_that_are_no_modules_of_ours_do_not_count():
    sources = ["import numpy, trait_libx", "x = 'trait_lib.nothing'", "not python at all"]
    assert names(sources) == {"trait_lib/__init__.py"}


def test_a_package_brings_its_data_files():
    reached = names(["from trait_lib.selection.cut import rubric"])
    assert "trait_lib/selection/cut/__init__.py" in reached
    assert "trait_lib/selection/cut/rubric.txt" in reached


def test_comments_and_layout_do_not_change_code_but_numbers_do():
    text = "def f(x):\n    return x + 1\n"
    assert code.hash_source(text) == code.hash_source(
        "# why\ndef f( x ):\n\n    return x+1  # so\n"
    )
    assert code.hash_source(text) != code.hash_source(text.replace("1", "2"))
    assert code.hash_source("%%time\nf(1)") != code.hash_source("%%time\nf(2)")


def test_better_words_change_no_hash():
    plain = "class A:\n    def f(self):\n        return 1\n"
    told = 'class A:\n    "A."\n    def f(self):\n        """One."""\n        return 1\n'
    assert code.hash_source(plain) == code.hash_source('"""Room."""\n' + told)
    assert code.hash_source("x = 'a'") != code.hash_source("x = 'b'")


def test_a_module_counts_with_all_that_it_imports(tmp_path, monkeypatch):
    room = tmp_path / "trait_lib"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "a.py").write_text("from trait_lib import b\n")
    (room / "b.py").write_text("N = 1\n")
    (room / "c.py").write_text("N = 1\n")
    monkeypatch.setattr(code, "ROOT", tmp_path)

    def fresh():
        code.hash_of.cache_clear()
        return code.hash_of("trait_lib.a")

    first = fresh()
    (room / "c.py").write_text("N = 2\n")
    (room / "b.py").write_text("# why\nN = 1\n")
    assert fresh() == first
    (room / "b.py").write_text("N = 2\n")
    assert fresh() != first
    with pytest.raises(ModuleNotFoundError, match=r"trait_lib\.d"):
        code.hash_of("trait_lib.d")
    code.hash_of.cache_clear()
