"""efficientnet-lite0-concepts, the default: its vectors, and their results."""

from __future__ import annotations

import re
from io import BytesIO
from itertools import takewhile

import numpy as np
import pytest
from PIL import Image
from psycopg.types.json import Jsonb
from support.databases import Clone, make_crowd
from support.sample_photographs import SAMPLES, Photographs

from evaluation import plain_words
from shared.embedding import Embedder, concepts
from shared.embedding.engines.openvino_runtime import ov
from shared.errors import BrokenImage, EmptyImage, InvalidQuery, NotAnImage
from shared.settings import CHECKOUT

DEMO = r"  (\d\.\d{3})  (\S+)(?:  \(found by .+\))?"
TEXTS = [
    "a castle",
    "renewable energy",
    "solar panels on a roof of a house by the sea",
    "x",
    "ein Schloß, 城",
]

# The first and the last four numbers of energy/windmill_1.jpg and of two texts (a class, a kind):
# features and concepts, from torch in float32.
CANONICAL_IMAGE = [0.03095, 0.01782, -0.03191, -0.01319, 0.00562, 0.00884, 0.00253, -0.01727]
ENDS = np.r_[:4, -4:0]
CANONICAL_TEXTS = {
    "a castle": [-0.01529, -0.02648, -0.0285, 0.02168, 0.01976, -0.0017, 0.01295, -0.04907],
    "tableware": [-0.02208, 0.0136, -0.00612, -0.02286, 0.00311, 0.02386, -0.01954, 0.01072],
}


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", left, right)


def test_it_says_what_it_is(served: Embedder) -> None:
    assert served.name == "efficientnet-lite0-concepts"
    assert served.dimensions == 1408
    assert served.supports_text
    assert served.image_size == 650


def test_vectors_are_rows_of_float32_of_unit_length(served: Embedder, some_files: list[bytes]) -> None:
    for vectors, count in ((served.embed_images(some_files), 6), (served.embed_texts(TEXTS), 5)):
        assert vectors.shape == (count, 1408)
        assert vectors.dtype == np.float32
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


def test_nothing_in_is_nothing_out(served: Embedder) -> None:
    assert served.embed_images([]).shape == served.embed_texts([]).shape == (0, 1408)


def test_the_canonical_vectors_stay_what_they_are(reference: Embedder, exact: Embedder) -> None:
    picture = (SAMPLES / "energy" / "windmill_1.jpg").read_bytes()
    for embedder in (reference, exact):
        assert embedder.embed_images([picture])[0, ENDS] == pytest.approx(CANONICAL_IMAGE, abs=1e-4)
        for text, first in CANONICAL_TEXTS.items():
            assert embedder.embed_texts([text])[0, ENDS] == pytest.approx(first, abs=1e-4)


def test_openvino_in_float32_agrees_with_torch(
    exact: Embedder, reference: Embedder, many_files: list[bytes]
) -> None:
    assert cosines(exact.embed_images(many_files), reference.embed_images(many_files)).min() >= 0.9999
    assert cosines(exact.embed_texts(TEXTS), reference.embed_texts(TEXTS)).min() >= 0.9999


def test_what_is_served_agrees_with_torch(
    served: Embedder, reference: Embedder, many_files: list[bytes]
) -> None:
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert served.engine.precision == ("bf16" if "BF16" in capabilities else "f32")
    tolerance = 0.995 if served.engine.precision == "bf16" else 0.9999
    assert cosines(served.embed_images(many_files), reference.embed_images(many_files)).min() >= tolerance
    assert cosines(served.embed_texts(TEXTS), reference.embed_texts(TEXTS)).min() >= tolerance


def test_rounded_filters_keep_their_sums_and_are_exact_in_bfloat16() -> None:
    import torch

    from shared.embedding.conversion import rounding

    filters = torch.randn(200, 9, generator=torch.Generator().manual_seed(1))
    rounded = rounding.round_keeping_sums(filters)
    assert (rounded.bfloat16().float() == rounded).all()
    assert ((rounded - filters).abs() <= filters.abs() * 2**-7).all()
    kept = (rounded.double() - filters.double()).sum(dim=1).abs().mean()
    nearest = (filters.bfloat16().double() - filters.double()).sum(dim=1).abs().mean()
    assert kept < nearest / 5


def test_the_kept_sentence_vectors_are_those_of_the_concepts_names() -> None:
    from shared.embedding.conversion import efficientnet_lite

    table, kept = concepts.read(), concepts.name_vectors()
    assert kept.shape == (len(table), 384)
    rows = [0, 417, 999, 1000, len(table) - 1]
    computed = efficientnet_lite.encode_names([table[row] for row in rows]).numpy()
    assert cosines(computed, kept[rows].astype(np.float32)).min() >= 0.9999


@pytest.mark.parametrize("engine", ["exact", "reference"])
def test_a_batch_is_its_images_one_by_one_in_order(
    engine: str, request: pytest.FixtureRequest, some_files: list[bytes]
) -> None:
    embedder: Embedder = request.getfixturevalue(engine)
    files = some_files + some_files[::-1]  # more than one batch
    one_by_one = np.concatenate([embedder.embed_images([file]) for file in files])
    assert cosines(embedder.embed_images(files), one_by_one).min() >= 0.99999
    texts = np.concatenate([embedder.embed_texts([text]) for text in TEXTS])
    assert cosines(embedder.embed_texts(TEXTS), texts).min() >= 0.99999


def test_pictures_and_their_files_get_the_same_vectors(exact: Embedder, some_files: list[bytes]) -> None:
    pictures = [Image.open(BytesIO(file)) for file in some_files]
    assert cosines(exact.embed_images(some_files), exact.embed_images(pictures)).min() >= 0.99999


def test_decoding_a_large_jpeg_small_hardly_moves_its_vector(
    exact: Embedder, some_files: list[bytes]
) -> None:
    large = [enlarged(file) for file in some_files]
    small = exact.embed_images(large)
    in_full = exact.embed_images([Image.open(BytesIO(file)).convert("RGB") for file in large])
    assert small.tolist() != in_full.tolist(), "else nothing was small"
    assert cosines(small, in_full).min() >= 0.995


def enlarged(file: bytes) -> bytes:
    picture, output = Image.open(BytesIO(file)), BytesIO()
    scale = 3000 / min(picture.size)
    picture.resize((round(picture.width * scale), round(picture.height * scale))).save(
        output, "JPEG", quality=90
    )
    return output.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (7, 5)])
def test_odd_pictures_get_a_vector_too(served: Embedder, size: tuple[int, int]) -> None:
    assert np.isfinite(served.embed_images([Image.new("RGB", size, "red")])).all()


@pytest.mark.parametrize(
    ("bad", "error"), [(b"", EmptyImage), (b"GIF", NotAnImage), (b"\x89PNG\r\n\x1a\n", BrokenImage)]
)
def test_a_bad_file_raises_its_own_error(
    served: Embedder, some_files: list[bytes], bad: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        served.embed_images([some_files[0], bad])


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_no_query(served: Embedder, text: str) -> None:
    with pytest.raises(InvalidQuery):
        served.embed_texts(["a castle", text])


def test_a_long_text_is_cut_off(served: Embedder) -> None:
    assert served.embed_texts(["castle " * 5000]).shape == (1, 1408)


def test_a_windmill_finds_windmills(photographs: Photographs) -> None:
    found = photographs.like(photographs.vector_of("energy/windmill_1.jpg"), 7)
    assert found[0] == "energy/windmill_1.jpg"
    assert sum("windmill" in name for name in found[1:]) >= 5


def test_the_text_a_castle_finds_castles(photographs: Photographs) -> None:
    castles = ("carcassonne", "neuschwanstein", "chambord", "chenonceau", "castle", "castillo", "schwerin")
    found = photographs.like(photographs.embedder.embed_texts(["a castle"])[0], 6)
    assert sum(any(castle in name for castle in castles) for name in found) >= 4


def test_the_text_renewable_energy_finds_energy(photographs: Photographs) -> None:
    found = photographs.like(photographs.embedder.embed_texts(["renewable energy"])[0], 6)
    assert sum(name.startswith("energy/") for name in found) >= 5


def test_the_text_solar_panels_on_a_roof_finds_solar(photographs: Photographs) -> None:
    found = photographs.like(photographs.embedder.embed_texts(["solar panels on a roof"])[0], 5)
    assert "solar" in found[0] and sum("solar" in name for name in found) >= 3


def test_the_text_tableware_finds_what_is_no_class_but_a_kind_of_classes(photographs: Photographs) -> None:
    tableware = ("plate", "buffetset", "knife", "spoons", "cup", "pan.")
    found = photographs.like(photographs.embedder.embed_texts(["tableware"])[0], 6)
    assert sum(any(name in path for name in tableware) for path in found) >= 5


def test_most_neighbours_are_of_the_same_folder(photographs: Photographs) -> None:
    folders = np.array([name.split("/")[0] for name in photographs.names])
    similarities = photographs.vectors @ photographs.vectors.T
    np.fill_diagonal(similarities, -1)
    nearest = np.argsort(-similarities, axis=1)[:, :5]
    assert (folders[nearest] == folders[:, None]).mean() >= 0.84


def test_plain_words_find_what_they_name_first(photographs: Photographs) -> None:
    words = plain_words.read()
    found = [photographs.like(vector, 1)[0] for vector in photographs.embedder.embed_texts([*words])]
    right = [plain_words.stem(key) in names for key, names in zip(found, words.values(), strict=True)]
    assert len(right) == 60
    assert sum(right) >= plain_words.FLOOR


def shown(readme: str, title: str, line: str) -> list[tuple[str, ...]]:
    """The results of the search of this title that a README shows."""
    below = (CHECKOUT / readme).read_text().split(f"{title}\n")[1].splitlines()
    return [found.groups() for found in takewhile(bool, (re.fullmatch(line, one) for one in below)) if found]


def test_the_readmes_show_what_the_samples_searches_find(photographs: Photographs, database: Clone) -> None:
    names = [*photographs.names, "examples/owl.jpg"]
    owl = photographs.vector_of("animals/owl.jpg").tolist()
    [castle] = photographs.embedder.embed_texts(["a castle"]).tolist()
    make_crowd(database, [*photographs.vectors.tolist(), owl], names, [None] * len(names))
    liked = [{"embedding": owl}, {"embedding": castle, "weight": 0.5, "kind": "text"}]
    with database.connect() as connection:
        connection.execute("select neural_search.write_words()")

        def rows(call: str, *given: object) -> list[tuple[str, float]]:
            statement = f"select content, similarity from {call}"
            return connection.execute(statement.encode(), given).fetchall()

        to_vector = "%s::real[]::extensions.vector"
        by_text = rows(f"search_documents({to_vector}, 'a castle', match_count => 5)", castle)
        by_image = rows(f"match_documents({to_vector}, match_count => 5)", owl)
        either = rows(
            "recommend_documents(%s, strategy => 'best_score', diversity => 0.2, match_count => 6)",
            Jsonb(liked),
        )
    example = r"(\d\.\d{3})  images/(\S+)"
    told = {
        "README.md": (shown("README.md", r"Query by text 'a castle' (144 ms)", DEMO), by_text[:4]),
        "by image": (shown("examples/README.md", "Like owl.jpg:", example), by_image),
        "by text": (shown("examples/README.md", "a castle:", example), by_text),
        "either": (
            shown("examples/README.md", "Like either, without the image itself:", example),
            [one for one in either if one[0] != "examples/owl.jpg"],
        ),
    }
    for place, (lines, found) in told.items():
        assert [name for _, name in lines] == [name for name, _ in found], place
        similarities = [float(similarity) for similarity, _ in lines]
        # Processors without bfloat16 differ by 0.006 from those that have it.
        assert similarities == pytest.approx([similarity for _, similarity in found], abs=0.01), place


def test_plain_words_with_the_photographs_names_find_more(photographs: Photographs, database: Clone) -> None:
    make_crowd(database, photographs.vectors.tolist(), photographs.names, [None] * len(photographs.names))
    words = plain_words.read()
    first = "select content from search_documents(%s::real[]::extensions.vector, %s, match_count => 1)"
    with database.connect() as connection:
        connection.execute("select neural_search.write_words()")
        found = [
            connection.execute(first, [vector.tolist(), word]).fetchall()[0][0]
            for word, vector in zip(words, photographs.embedder.embed_texts([*words]), strict=True)
        ]
    right = [plain_words.stem(key) in names for key, names in zip(found, words.values(), strict=True)]
    assert sum(right) >= plain_words.FLOOR_WITH_NAMES
