"""Clusters, made and scaled by the unmodified client."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from azure.ai.ml.entities import AmlCompute, ComputeInstance, IdentityConfiguration
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

NAME = "made-here"


@pytest.fixture
def cluster(ml_client: "MLClient") -> Iterator[AmlCompute]:
    identity = IdentityConfiguration(type="system_assigned")
    yield ml_client.compute.begin_create_or_update(
        AmlCompute(
            name=NAME, size="Standard_DS3_v2", max_instances=2, idle_time_before_scale_down=300, identity=identity
        )
    ).result()
    ml_client.compute.begin_delete(NAME).result()


def test_a_cluster_is_made_listed_and_scaled(ml_client: "MLClient", cluster: AmlCompute) -> None:
    assert NAME in [compute.name for compute in ml_client.compute.list()]
    found = ml_client.compute.get(NAME)
    assert (found.size, found.min_instances, found.max_instances) == ("Standard_DS3_v2", 0, 2)
    assert found.idle_time_before_scale_down == 300
    assert found.identity.type == "system_assigned"
    assert found.identity.principal_id
    found.max_instances = 4
    assert ml_client.compute.begin_update(found).result().max_instances == 4
    assert ml_client.compute.get(NAME).max_instances == 4


def test_a_size_cannot_be_changed_and_only_clusters_are_made(ml_client: "MLClient", cluster: AmlCompute) -> None:
    larger = AmlCompute(name=NAME, size="Standard_NC4as_T4_v3")
    with pytest.raises(ResourceExistsError, match="size standard_ds3_v2 cannot be changed"):
        ml_client.compute.begin_create_or_update(larger).result()
    with pytest.raises(HttpResponseError, match="only clusters"):
        ml_client.compute.begin_create_or_update(ComputeInstance(name="my-machine", size="Standard_DS3_v2")).result()
    assert ml_client.compute.get(NAME).size == "Standard_DS3_v2"


def test_a_deleted_cluster_is_gone(ml_client: "MLClient") -> None:
    ml_client.compute.begin_create_or_update(AmlCompute(name="short-lived", size="Standard_DS3_v2")).result()
    ml_client.compute.begin_delete("short-lived").result()
    with pytest.raises(ResourceNotFoundError, match="Compute short-lived"):
        ml_client.compute.get("short-lived")
