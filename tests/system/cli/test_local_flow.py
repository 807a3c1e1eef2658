"""The commands on the embedded stack: real processes, a real Postgres, real HTTP."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

import pytest
from PIL import Image
from support.command_line import CommandLine, write_picture

from cli.client.local_files import find_files
from cli.client.project import Project
from cli.commands import albums
from shared.settings import CHECKOUT

CAT = CHECKOUT / "examples" / "images" / "animals" / "cat.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good pictures under awkward names, and three files that no picture can be made of."""
    folder = tmp_path_factory.mktemp("pictures")
    write_picture(folder / "red.png", "red")
    write_picture(folder / "sub" / "what? 50:50 & co.jpg", "green")
    write_picture(folder / "sub" / "deep" / "blue.webp", "blue")
    (folder / "fake.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    (folder / "cut.jpg").write_bytes(CAT.read_bytes()[:4000])
    (folder / "notes.txt").write_text("not to be uploaded")
    return folder


@pytest.fixture(scope="module")
def uploaded(stack: CommandLine, folder: Path) -> dict[str, object]:
    answer = stack.json("upload", folder, "--prefix", "mixed", "--wait", status=1)
    assert isinstance(answer, dict)
    return answer


def _exports(stack: CommandLine) -> list[str]:
    return stack.run("status", "--env").stdout.splitlines()


def _variables(stack: CommandLine) -> dict[str, str]:
    """The variables of `eval "$(neural-search status --env)"`."""
    return dict(shlex.split(line)[1].split("=", 1) for line in _exports(stack))


def test_status_shows_every_part_answering_and_no_secret(stack: CommandLine):
    assert [part["answers"] for part in stack.json("status")["parts"]] == [True, True, True]
    assert "sb_secret_" not in stack.run("status").stdout


def test_status_env_sets_a_shell_up_for_the_stack(stack: CommandLine):
    lines = _exports(stack)
    names = [line.removeprefix("export ").split("=")[0] for line in lines]
    assert {"SUPABASE_URL", "SUPABASE_SECRET_KEY", "QUERY_URL", "DATABASE_URL"} <= set(names)
    assert f"export SUPABASE_URL=http://127.0.0.1:{stack.port}" in lines


def test_doctor_finds_nothing_wrong(stack: CommandLine):
    findings = stack.json("doctor")
    assert {finding["state"] for finding in findings} == {"OK"} and len(findings) > 15


def test_upload_waits_until_each_good_image_is_searchable(uploaded: dict[str, object]):
    good = ["mixed/red.png", "mixed/sub/deep/blue.webp", "mixed/sub/what? 50:50 & co.jpg"]
    assert uploaded["searchable"] == good


def test_upload_says_why_the_others_never_will_be(uploaded: dict[str, dict[str, str]]):
    reasons = uploaded["not_searchable"]
    assert sorted(reasons) == ["mixed/cut.jpg", "mixed/empty.png", "mixed/fake.jpg"]
    assert "empty" in reasons["mixed/empty.png"] and "rows are in the file" in reasons["mixed/cut.jpg"]


def test_jobs_shows_skipped_and_failed_work_with_its_cause(stack: CommandLine, uploaded: dict[str, object]):
    rows = {row["name"]: row for row in stack.json("jobs")["jobs"]}
    assert rows["mixed/fake.jpg"]["state"] == "skipped"
    assert rows["mixed/fake.jpg"]["error_class"] == "NotAnImage"
    assert {row["name"] for row in stack.json("jobs", "--state", "skipped")["jobs"]} <= set(rows)
    assert "mixed/fake.jpg" in stack.run("jobs").stdout


def test_jobs_retry_counts_what_it_made_due_again(stack: CommandLine, uploaded: dict[str, object]):
    assert stack.json("jobs", "retry", "--prefix", "mixed/fake")["retried"] == 1
    assert "0 images" in stack.run("jobs", "retry", "--prefix", "nothing-there").stdout


def test_an_upload_repeated_leaves_what_is_there_alone(stack: CommandLine, tmp_path: Path):
    write_picture(tmp_path / "a.png")
    assert stack.json("upload", tmp_path, "--prefix", "again")["uploaded"] == ["again/a.png"]
    assert stack.json("upload", tmp_path, "--prefix", "again")["unchanged"] == ["again/a.png"]


def test_other_bytes_under_a_taken_name_need_upsert(stack: CommandLine, tmp_path: Path):
    stack.run("upload", write_picture(tmp_path / "one" / "b.png", "red"))
    other = write_picture(tmp_path / "two" / "b.png", "blue")
    refusal = stack.json("upload", other, status=1)["not_uploaded"]["b.png"]
    assert "`neural-search upload --upsert` replaces it" in refusal
    assert stack.json("upload", other, "--upsert", "--wait")["searchable"] == ["b.png"]


def test_a_name_beyond_ascii_is_stored_in_latin_letters_and_told(stack: CommandLine, tmp_path: Path):
    write_picture(tmp_path / "tür.png")
    write_picture(tmp_path / "door.png")
    (tmp_path / "notes.txt").write_text("not to be uploaded")
    (tmp_path / "link.png").symlink_to(stack.folder / "elsewhere.png")
    told = stack.run("upload", tmp_path, "--prefix", "names").stdout
    assert "Left out, as no images: 1 file, such as notes.txt. --all uploads" in told
    assert "Left out, as links out of the folder: 1 file, such as link.png. `cp -RL` makes a copy" in told
    assert "tür.png is stored as names/tur.png" in told and "Uploaded: 2 files" in told


def test_every_command_names_a_bucket_that_is_not_there(stack: CommandLine, tmp_path: Path):
    picture = write_picture(tmp_path / "a.png")
    given = _variables(stack)
    mine = CommandLine(stack.folder, stack.port, {"DATABASE_URL": given["DATABASE_URL"]})
    for arguments in (
        ("upload", picture, "--bucket", "imges"),
        ("delete", "a.png", "--bucket", "imges", "--yes"),
        ("query", "a castle", "--bucket", "imges"),
        ("jobs", "--bucket", "imges"),
        ("jobs", "retry", "--bucket", "imges"),
        ("backfill", "--bucket", "imges"),
        ("duplicates", "--bucket", "imges"),
        ("evaluate", "bucket:imges"),
        ("buckets", "index", "imges"),
        ("buckets", "unindex", "imges", "--yes"),
    ):
        assert stack.error(*arguments) == "error: There is no bucket 'imges'. Did you mean 'images'?", (
            arguments
        )
    assert "There is no bucket 'imges'" in mine.error("install", "--bucket", "imges")


def test_a_bucket_is_indexed_listed_and_taken_out_again(stack: CommandLine, tmp_path: Path):
    with Project(stack.target) as project:
        project.storage.storage.create_bucket("shoes")
    told = stack.run("buckets", "index", "shoes", "--visible-by", "owner").stdout
    assert "No image is searchable yet by which to compare" in told and "doctor" in told
    stack.run("buckets", "unindex", "shoes", "--yes")
    stack.run("upload", write_picture(tmp_path / "a.png"), "--bucket", "shoes")
    assert (
        "`neural-search buckets index shoes`"
        in stack.run("upload", tmp_path, "--bucket", "shoes", "--wait", status=1).stderr
    )
    assert stack.json("buckets", "index", "shoes") == {"bucket": "shoes", "queued": 1}
    assert "visible_by has 'size'" in stack.error("buckets", "index", "shoes", "--visible-by", "size=1")
    stack.run("buckets", "index", "shoes", "--visible-by", "owner", "--visible-by", "folder=auth.uid()")
    stack.run("upload", tmp_path, "--bucket", "shoes", "--wait")
    assert "doctor" not in stack.run("buckets", "index", "shoes", "--visible-by", "owner").stdout
    [row] = [row for row in stack.json("buckets", "list") if row["bucket"] == "shoes"]
    assert row == {"bucket": "shoes", "public": False, "indexed": True, "images": 1, "searchable": 1}
    assert stack.json("buckets", "unindex", "shoes", "--yes") == {"bucket": "shoes", "removed": 1}
    assert "isn't indexed" in stack.error("buckets", "unindex", "shoes", "--yes")
    assert "shoes" in stack.run("buckets", "list").stdout


def test_deleted_images_leave_storage_and_the_search(stack: CommandLine, tmp_path: Path):
    for name in ("a.png", "b.png", "deep/c.png", "deep/er/d.png"):
        write_picture(tmp_path / name)
    stack.run("upload", tmp_path, "--prefix", "gone", "--wait")
    assert stack.json("delete", "gone/a.png", "--yes") == {"deleted": ["gone/a.png"], "not_deleted": []}
    answer = stack.json("delete", "gone/deep/", "gone/none.png", "--yes", status=1)
    assert answer == {"deleted": ["gone/deep/c.png", "gone/deep/er/d.png"], "not_deleted": ["gone/none.png"]}
    found = stack.json("query", "--image", tmp_path / "a.png", "--prefix", "gone/")["results"]
    assert [row["name"] for row in found] == ["gone/b.png"]
    assert "nothing in the folder 'gone/deep/'" in stack.error("delete", "gone/deep/", "--yes")


@pytest.fixture(scope="module")
def papers(stack: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The commands on a bucket of two images, one in a folder."""
    folder = tmp_path_factory.mktemp("papers")
    with Project(stack.target) as project:
        project.storage.storage.create_bucket("papers")
    for name in ("sub/a.png", "sub/b.png", "sub_a.png"):
        write_picture(folder / name)
    stack.run("upload", folder, "--bucket", "papers")
    return stack


@pytest.mark.parametrize("name", ["/", "//", ""])
def test_an_empty_variable_before_the_slash_deletes_no_bucket(papers: CommandLine, name: str):
    told = papers.error("delete", "sub_a.png", name, "--bucket", "papers", "--yes")
    assert f"{name!r} names no folder, but all of the bucket 'papers'" in told
    assert "`neural-search delete / --everything`" in told


def test_a_folder_without_its_slash_is_recognised(papers: CommandLine):
    done = papers.run("delete", "sub", "--bucket", "papers", "--yes", status=1)
    assert "Deleted: 0 objects" in done.stdout and "  sub (a folder. Did you mean 'sub/'?)" in done.stderr


def test_the_question_counts_what_is_there(papers: CommandLine):
    asked = papers.run("delete", "sub/a.png", "sub/none.png", "other.png", "--bucket", "papers", status=1)
    assert "Delete 1 object from the bucket papers?" in asked.stdout
    unasked = papers.run("delete", "none.png", "--bucket", "papers", status=1)
    assert "Delete" not in unasked.stdout.replace("Deleted: 0 objects", "")


def test_folders_without_a_name_are_deleted_as_others_are(papers: CommandLine):
    with Project(papers.target) as project:
        files = project.storage.storage.from_("papers")
        files.upload("odd/x.png", b"x", {"content-type": "image/png"})
        for name in ("odd//y.png", "odd//z.png", "odd///deep/z.png"):
            files.copy("odd/x.png", name)  # the client's upload would leave out the empty part
    answer = papers.json("delete", "odd//y.png", "--bucket", "papers", "--yes")
    assert answer == {"deleted": ["odd//y.png"], "not_deleted": []}
    for name in ("odd/x//", "/odd/", "sub//"):  # as an empty variable makes of "sub/$FOLDER/"
        assert f"nothing in the folder '{name}'" in papers.error(
            "delete", name, "--bucket", "papers", "--yes"
        )
    answer = papers.json("delete", "odd/", "--bucket", "papers", "--yes")
    assert answer == {"deleted": ["odd///deep/z.png", "odd//z.png", "odd/x.png"], "not_deleted": []}


def test_everything_in_a_bucket_is_deleted_where_that_is_said(papers: CommandLine):
    with Project(papers.target) as project:
        project.storage.storage.from_("papers").copy("sub/a.png", "/x.png")
    answer = papers.json("delete", "/", "--everything", "--bucket", "papers", "--yes")
    assert answer == {"deleted": ["/x.png", "sub/a.png", "sub/b.png", "sub_a.png"], "not_deleted": []}


def test_an_image_finds_itself_first(stack: CommandLine, folder: Path, uploaded: dict[str, object]):
    results = stack.json("query", "--image", folder / "red.png", "--prefix", "mixed/")["results"]
    assert results[0]["name"] == "mixed/red.png" and results[0]["similarity"] > 0.99


def test_texts_and_images_combine_and_the_limit_holds(
    stack: CommandLine, folder: Path, uploaded: dict[str, object]
):
    given = ("--text", "a wall", "--text", "a door", "--image", folder / "red.png", "--bucket", "images")
    assert len(stack.json("query", *given, "--limit", "1")["results"]) == 1


def test_results_leave_out_the_examples(stack: CommandLine, uploaded: dict[str, object]):
    examples = ["mixed/red.png", "mixed/sub/deep/blue.webp"]
    results = stack.json("query", "--like", examples[0], "--unlike", examples[1])["results"]
    assert not {result["name"] for result in results} & set(examples)


def test_results_in_a_pipe_are_plain_lines(stack: CommandLine, folder: Path, uploaded: dict[str, object]):
    query = ("query", "--image", folder / "red.png", "--limit", "1")
    header, result = stack.spawn(*query).stdout.splitlines()
    assert header.split() == ["similarity", "confidence", "found", "by", "bucket", "name"]
    assert result.split() == ["1.000", "strong", "image", "images", "mixed/red.png"]
    assert "/object/sign/images/mixed/red.png?token=" in stack.run(*query, "--urls").stdout


def test_a_query_that_the_function_refuses_shows_its_reason(stack: CommandLine):
    assert "no-such.png" in stack.error("query", "--like", "no-such.png")


def test_a_wrong_key_is_named(stack: CommandLine):
    given = _variables(stack)
    wrong = {"SUPABASE_SECRET_KEY": "sb_secret_wrong", "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_wrong"}
    other = CommandLine(stack.folder, stack.port, {"SUPABASE_URL": given["SUPABASE_URL"], **wrong})
    url = given["SUPABASE_URL"]
    assert other.error("jobs") == f"error: {url} refuses the key: check SUPABASE_SECRET_KEY."
    assert other.error("query", "a castle") == (
        f"error: The query function at {url}/functions/v1/query refuses the key: "
        "check SUPABASE_PUBLISHABLE_KEY."
    )
    assert other.error("upload", CAT) == "error: Storage refuses the key: check SUPABASE_SECRET_KEY."


@pytest.mark.parametrize("kind", ["secret", "publishable"])
def test_doctor_counts_a_wrong_key_once(stack: CommandLine, kind: str):
    given = _variables(stack)
    variable = f"SUPABASE_{kind.upper()}_KEY"
    other = CommandLine(stack.folder, stack.port, given | {variable: f"sb_{kind}_wrong"})
    findings = other.json("doctor", status=1)
    [wrong] = [finding for finding in findings if finding["state"] == "WRONG"]
    assert wrong["check"] == f"{kind} key" and f"check {variable}" in wrong["detail"]
    skipped = {finding["detail"] for finding in findings if finding["state"] == "SKIPPED"}
    assert skipped == {f"{variable} is refused: see '{kind} key'"}


def test_doctor_knows_the_running_stack_without_its_port(stack: CommandLine):
    given = _variables(stack)
    findings = CommandLine(stack.folder, 54321, given).json("doctor")
    assert {finding["state"] for finding in findings} == {"OK"}
    [port] = [finding for finding in findings if finding["check"] == "embedded stack's port"]
    assert port["detail"].startswith(str(stack.port))


def test_doctor_goes_on_where_the_stacks_folder_is_none(stack: CommandLine, tmp_path: Path):
    (tmp_path / "file").touch()
    nowhere = CommandLine(tmp_path / "file", stack.port, {"SUPABASE_URL": "http://127.0.0.1:9"})
    findings = {finding["check"]: finding["state"] for finding in nowhere.json("doctor", status=1)}
    assert findings["embedded stack's folder"] == "SKIPPED" and findings["decoding limits"] == "OK"


def test_doctor_names_both_addresses_where_another_project_is_meant(stack: CommandLine):
    elsewhere = CommandLine(stack.folder, stack.port, {"SUPABASE_URL": "http://127.0.0.1:9"})
    findings = {finding["check"]: finding for finding in elsewhere.json("doctor", status=1)}
    assert findings["embedded stack's port"] == {
        "check": "embedded stack's port",
        "state": "SKIPPED",
        "detail": f"SUPABASE_URL is http://127.0.0.1:9, the embedded stack in {stack.folder} has "
        f"http://127.0.0.1:{stack.port}",
    }


def test_a_second_stack_on_the_same_folder_is_refused(stack: CommandLine):
    assert "neural-search down" in stack.error("up")


def test_a_port_in_use_is_named_with_a_remedy(nowhere: CommandLine):
    with socket.create_server(("127.0.0.1", nowhere.port)):
        done = nowhere.spawn("up", status=1)
    assert done.stderr.count("\n") == 1 and f"Port {nowhere.port}" in done.stderr
    assert "LOCAL_PORT" in done.stderr


def test_the_demo_shows_results_for_a_folder_with_broken_images(stack: CommandLine, tmp_path: Path):
    write_picture(tmp_path / "mine.png", "orange")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    Image.new("1", (1, 1)).save(tmp_path / "tiny.gif")
    done = stack.run("demo", "--once", "--images", tmp_path)
    assert "Query by image mine.png" in done.stdout and "broken.jpg: " in done.stderr
    assert f"http://127.0.0.1:{stack.port}/functions/v1/query/" in done.stdout


def test_the_demo_replaces_no_image_of_the_operators(stack: CommandLine, tmp_path: Path):
    for name in ("dog.png", "owl.png"):
        write_picture(tmp_path / "theirs" / name, "orange")
        write_picture(tmp_path / "mine" / name, "green")
    stack.run("upload", tmp_path / "mine" / "dog.png", "--wait")
    demo = ("demo", "--once", "--images", tmp_path / "theirs")
    done = stack.run(*demo)
    assert "Query by image owl.png" in done.stdout
    assert "dog.png: another file has this name there. `neural-search upload --upsert`" in done.stderr
    with Project(stack.target) as project:
        kept = project.storage.storage.from_("images").download("dog.png")
    assert kept == (tmp_path / "mine" / "dog.png").read_bytes()
    stack.run("delete", "owl.png", "--yes")
    stack.run("upload", tmp_path / "mine" / "owl.png", "--wait")
    assert "stay. Try the demo on another data folder" in stack.run(*demo, status=1).stderr


def test_the_demo_names_the_images_of_an_album_that_stay(
    stack: CommandLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for colour in ("orange", "green"):
        write_picture(tmp_path / colour / "household" / "mug.png", colour)
        albums.fill(stack.target, find_files([tmp_path / colour])[0])
    told = capsys.readouterr()
    assert "ada@example.com alone: 1 image\n" in told.out and "ada@example.com alone: 0 images\n" in told.out
    assert "household/mug.png: another file has this name there" in told.err
