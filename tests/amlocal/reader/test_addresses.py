"""Every form of address that Azure ML documents, and what is none of them."""

import pytest

from amlocal.reader.addresses import (
    AddressError,
    AssetReference,
    DatastorePath,
    ForeignUri,
    LocalPath,
    RegistryReference,
    Url,
    parse_address,
)

WORKSPACE = "subscriptions/s/resourcegroups/g/workspaces/w"
ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("azureml:reviews:3", AssetReference("reviews", version="3")),
        ("azureml:reviews@latest", AssetReference("reviews", label="latest")),
        ("azureml:train", AssetReference("train")),
        ("azureml:my.data-set_1:2024-01-31", AssetReference("my.data-set_1", version="2024-01-31")),
        (f"azureml:{ARM}/data/reviews/versions/3", AssetReference("reviews", "3", kind="data")),
        (f"{ARM}/components/train/versions/1", AssetReference("train", "1", kind="components")),
        (f"{ARM}/models/m/labels/latest", AssetReference("m", label="latest", kind="models")),
        (f"azureml://{WORKSPACE}/data/reviews/versions/3", AssetReference("reviews", "3", kind="data")),
        ("azureml://locations/l/workspaces/id/data/reviews/versions/3", AssetReference("reviews", "3", kind="data")),
        (
            "azureml://registries/azureml/components/train/versions/0.1.2",
            RegistryReference("azureml", "components", "train", "0.1.2"),
        ),
        (
            "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
            RegistryReference("azureml", "environments", "sklearn-1.5", label="latest"),
        ),
        ("azureml://datastores/store/paths/a/b.csv", DatastorePath("store", "a/b.csv")),
        ("azureml://datastores/store/paths/a/", DatastorePath("store", "a")),
        ("azureml://datastores/store/paths/", DatastorePath("store", "")),
        ("azureml://datastores/store", DatastorePath("store", "")),
        (f"azureml://{WORKSPACE}/datastores/store/paths/a/*.csv", DatastorePath("store", "a/*.csv")),
        (f"azureml:/{ARM}/datastores/store/paths/a", DatastorePath("store", "a")),
        ("azureml://jobs/j/outputs/model", ForeignUri("azureml", "azureml://jobs/j/outputs/model")),
        ("https://example.org/a.csv?x=1", Url("https://example.org/a.csv?x=1")),
        ("wasbs://c@a.blob.core.windows.net/x", ForeignUri("wasbs", "wasbs://c@a.blob.core.windows.net/x")),
        ("abfss://c@a.dfs.core.windows.net/x", ForeignUri("abfss", "abfss://c@a.dfs.core.windows.net/x")),
        ("adl://a.azuredatalakestore.net/x", ForeignUri("adl", "adl://a.azuredatalakestore.net/x")),
        ("git+https://example.org/r.git", ForeignUri("git+https", "git+https://example.org/r.git")),
        ("./data", LocalPath("./data")),
        ("file:./data", LocalPath("./data")),
        ("file:///srv/data", LocalPath("/srv/data")),
        ("data:1.csv", LocalPath("data:1.csv")),
    ],
)
def test_an_address_is_what_azure_says_it_is(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["azureml:", "azureml:a:1:2", "azureml:a b:1", "azureml://nowhere/x", "azureml://registries/r/data/x"],
)
def test_what_is_no_address_says_which_ones_there_are(text):
    with pytest.raises(AddressError, match="expected azureml:NAME:VERSION"):
        parse_address(text)


def test_a_reference_is_shown_as_azure_writes_it():
    texts = ["azureml:a:1", "azureml:a@latest", "azureml:a"]
    assert [str(parse_address(text)) for text in texts] == texts
