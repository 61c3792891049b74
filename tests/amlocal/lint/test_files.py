"""Which files are Azure ML's, and of what kind."""

import pytest

from amlocal.lint.files import Kind, kind_of

SCHEMA = "$schema: https://azuremlschemas.azureedge.net/latest/{}.schema.json\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pipelineJob", Kind.JOB),
        ("autoMLJob", Kind.JOB),
        ("commandComponent", Kind.COMPONENT),
        ("pipelineComponent", Kind.COMPONENT),
        ("environment", Kind.ENVIRONMENT),
        ("data", Kind.DATA),
        ("model", Kind.MODEL),
        ("amlCompute", Kind.COMPUTE),
        ("computeInstance", Kind.COMPUTE),
        ("azureBlob", Kind.DATASTORE),
        ("azureDataLakeGen2", Kind.DATASTORE),
        ("schedule", Kind.SCHEDULE),
        ("managedOnlineEndpoint", Kind.ONLINE_ENDPOINT),
        ("kubernetesOnlineDeployment", Kind.ONLINE_DEPLOYMENT),
        ("batchEndpoint", Kind.BATCH_ENDPOINT),
        ("modelBatchDeployment", Kind.BATCH_DEPLOYMENT),
        ("workspace", Kind.WORKSPACE),
        ("MLTable", None),
    ],
)
def test_the_schema_decides(name, kind):
    assert kind_of(SCHEMA.format(name) + "anything: [at all") is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("type: pipeline\njobs:\n  a: {component: ./a.yml}\n", Kind.JOB),
        ("type: pipeline\ninputs:\n  epochs: 3\n  data: {type: uri_folder, optional: true}\njobs: {}\n", Kind.JOB),
        ("type: pipeline\nname: x\ninputs:\n  epochs: {type: integer, default: 3}\njobs: {}\n", Kind.COMPONENT),
        ("type: pipeline\njobs:\n  a:\n    inputs:\n      x: {type: number, default: 1}\n", Kind.JOB),
        ("jobs:\n  a:\n    component: ./a.yml\n", Kind.JOB),
        ("type: command\ncommand: x\nenvironment: azureml:a:1\ninputs:\n  data: {path: x}\n", Kind.JOB),
        ("type: command\nname: x\ncommand: x\nenvironment: azureml:a:1\n", Kind.COMPONENT),
        ("type: command\ncommand: x\ncompute: azureml:cpu\n", Kind.JOB),
        ("type: sweep\ntrial: ./a.yml\n", Kind.JOB),
        ("name: x\ntype: uri_folder\npath: ./a\n", Kind.DATA),
        ("name: x\ntype: mlflow_model\npath: ./a\n", Kind.MODEL),
        ("name: x\nimage: y\nconda_file: conda.yml\n", Kind.ENVIRONMENT),
        ("name: x\nauth_mode: key\n", Kind.ONLINE_ENDPOINT),
        ("name: blue\nendpoint_name: x\nmodel: azureml:m:1\ninstance_count: 1\n", Kind.ONLINE_DEPLOYMENT),
        ("name: blue\nendpoint_name: x\nmodel: azureml:m:1\ncompute: azureml:c\n", Kind.BATCH_DEPLOYMENT),
        ("name: x\ntrigger: {type: cron}\ncreate_job: ./job.yml\n", Kind.SCHEDULE),
        ("on: [push]\njobs:\n  a:\n    runs-on: ubuntu\n", None),
        ("trigger: [main]\npool: {vmImage: ubuntu}\njobs: []\n", None),
        ("channels: [defaults]\ndependencies: [python]\n", None),
        ("services:\n  web: {image: nginx}\n", None),
        ("apiVersion: v1\nkind: Pod\n", None),
        ("name: x\nruns: {using: composite}\n", None),
        ("a: 1\n", None),
        ("", None),
    ],
)
def test_without_a_schema_the_keys_do(text, kind):
    assert kind_of(text) is kind
