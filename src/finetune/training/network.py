"""The model that is trained: loaded, and set up as the run's arguments and choices say."""

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from finetune.checkpoints import resolve_checkpoint
from finetune.data.manifest import DatasetManifest
from finetune.data.tokenise import load_tokenizer, tokenizer_sha256
from finetune.errors import InputError
from finetune.tasks import Task
from finetune.training.arguments import ALWAYS, TrainArguments
from finetune.training.choices import Choice, Choices
from finetune.training.dropout import replace_dropout_modules, use_threshold_dropout
from finetune.training.last_layer import use_all_tokens, use_first_token_only, why_all_tokens
from finetune.training.precision import AUTO
from finetune.training.problems import head_of

LOGGER = logging.getLogger(__name__)


def load_for_training(
    checkpoint: str, task: Task, manifest: DatasetManifest, attention: str
) -> tuple[Any, transformers.PreTrainedModel]:
    """Load tokenizer and model, with fp32 weights and a head for the data set's labels.

    Raises:
        InputError: the checkpoint cannot be loaded, or its tokenizer is not the one the data set was made with.
    """
    folder = resolve_checkpoint(checkpoint).folder
    tokenizer = load_tokenizer(folder)
    if (found := tokenizer_sha256(tokenizer)) != manifest.tokenizer_sha256:
        raise InputError(
            f"--checkpoint {checkpoint}: its tokenizer ({found[:12]}) is not the one the data set was tokenised with "
            f"({manifest.tokenizer_sha256[:12]}, {manifest.checkpoint}); give prep and train the same checkpoint"
        )
    model = load_model(folder, checkpoint, task, manifest, attention)
    settle_padding(tokenizer, model, checkpoint)
    return tokenizer, model


def settle_padding(tokenizer: Any, model: transformers.PreTrainedModel, checkpoint: str) -> None:
    """Let tokenizer and model agree on what fills batches up, and on which side.

    Decoders' heads read the last token before the padding, which they know by its id; one without a padding token takes
    its end token. Padding goes to the right, where it moves no token's position; to the left for XLNet, whose heads
    read the very last token.

    Raises:
        InputError: the tokenizer has neither token.
    """
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise InputError(f"--checkpoint {checkpoint}: its tokenizer has neither a padding nor an end token")
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.padding_side = "left" if model.config.model_type == "xlnet" else "right"


def model_class(folder: Path, checkpoint: str, task: Task) -> Any:
    """Return the class that a checkpoint is loaded as.

    Raises:
        InputError: its architecture has none with the task's head.
    """
    name = head_of(task).auto_model
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    known = getattr(transformers, name)._model_mapping
    if type(config) not in known:
        raise InputError(
            f"--checkpoint {checkpoint}: {config.model_type} has no {name.removeprefix('Auto')}, which the task "
            f"{task.name} needs; expected another architecture"
        )
    found = known[type(config)]
    return found[0] if isinstance(found, tuple) else found


def settle_attention(checkpoint: str, task: Task, asked: str, choice: Choice) -> Choice:
    """Return an attention kernel that the checkpoint's architecture has, where none was asked for by name."""
    loaded = model_class(resolve_checkpoint(checkpoint).folder, checkpoint, task)
    supported = {"flash_attention_2": loaded._supports_flash_attn, "sdpa": loaded._supports_sdpa, "eager": True}
    if asked != AUTO or supported[choice.value]:
        return choice
    kernel = "sdpa" if loaded._supports_sdpa else "eager"
    return Choice(kernel, f"{loaded.__name__} has no {choice.value}")


def load_model(
    folder: Path, checkpoint: str, task: Task, manifest: DatasetManifest, attention: str
) -> transformers.PreTrainedModel:
    """Load a model with fp32 weights and a head for the data set's labels.

    Raises:
        InputError: it cannot be loaded for this task, or not with this attention kernel.
    """
    name = head_of(task).auto_model
    model_class(folder, checkpoint, task)
    auto_model = getattr(transformers, name)
    try:
        model = auto_model.from_pretrained(
            folder,
            **head_of(task).config(manifest.labels),
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention,
            # A checkpoint that was fine-tuned for other labels keeps its encoder and gets a new head.
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"--checkpoint {checkpoint}: cannot be loaded as {name}: {error}") from None
    # A decoder's keys and values serve the next token, and there is none.
    model.config.use_cache = False
    return model


def set_up(
    model: transformers.PreTrainedModel, arguments: TrainArguments, choices: Choices
) -> tuple[nn.Module, dict[str, Choice]]:
    """Apply what is asked of the model itself.

    Returns:
        The model to train, which is another one with adapters; and what was done, with reasons.

    Raises:
        InputError: the model has no such layers.
    """
    done = {"last_layer": _last_layer(model, arguments)}
    if done["last_layer"].value == "first_token":
        use_first_token_only(model)
    if choices.dropout.value == "threshold":
        replaced = use_threshold_dropout(model)
        done["dropout"] = Choice("threshold", f"{choices.dropout.reason}; {replaced} modules replaced")
    if arguments.gradient_checkpointing == ALWAYS:
        if not model.supports_gradient_checkpointing:
            raise InputError(f"--gradient_checkpointing always: {type(model).__name__} has no support for it")
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if arguments.freeze_layers is not None:
        frozen = freeze_first_layers(model, arguments.freeze_layers)
        done["frozen"] = Choice(f"{frozen} of {model.num_parameters()} weights", "as requested")
    if arguments.lora_rank is not None:
        model = with_adapters(model, arguments.lora_rank, arguments)
        if choices.dropout.value == "threshold":
            # Each adapter brings a dropout of its own.
            replace_dropout_modules(model)
        trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
        done["lora"] = Choice(f"rank {arguments.lora_rank}, {trained} weights trained", "as requested")
    return model, done


def _last_layer(model: transformers.PreTrainedModel, arguments: TrainArguments) -> Choice:
    reason = why_all_tokens(model)
    if arguments.last_layer == "all_tokens":
        return Choice("all_tokens", "as requested")
    if reason is None:
        return Choice("first_token", "the head reads the first token alone")
    if arguments.last_layer == "first_token":
        raise InputError(f"--last_layer first_token: not for this model: {reason}")
    return Choice("all_tokens", reason)


def freeze_first_layers(model: transformers.PreTrainedModel, count: int) -> int:
    """Exclude the embeddings and the first layers from training.

    Returns:
        How many weights are frozen.

    Raises:
        InputError: the model has fewer layers.
    """
    layers = _layers(model)
    if count > len(layers):
        raise InputError(f"--freeze_layers {count}: the model has {len(layers)} layers")
    frozen = 0
    for module in [model.get_input_embeddings(), *_embedding_parts(model), *layers[:count]]:
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                frozen += parameter.numel()
    return frozen


def _embedding_parts(model: transformers.PreTrainedModel) -> list[nn.Module]:
    """Return what else turns tokens into vectors: a module of that name, or bare tables, as GPT-2's of positions."""
    return [
        child
        for name, child in model.base_model.named_children()
        if name == "embeddings" or isinstance(child, nn.Embedding)
    ]


def _layers(model: transformers.PreTrainedModel) -> nn.ModuleList:
    """Return the longest list of modules: in every encoder and decoder, that is its layers."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise InputError(f"--freeze_layers: {type(model).__name__} has no list of layers")
    return max(lists, key=len)


def with_adapters(model: transformers.PreTrainedModel, rank: int, arguments: TrainArguments) -> nn.Module:
    """Put low-rank adapters beside every linear layer of the encoder; the head is trained in full (LoRA, by peft)."""
    from peft import LoraConfig, TaskType, get_peft_model

    head = [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]
    pooler = ["pooler"] if getattr(model.base_model, "pooler", None) is not None else []
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=rank,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        target_modules="all-linear",
        # A checkpoint without a pooler gets a random one, which has to be learnt like the head.
        modules_to_save=[*head, *pooler],
    )
    return get_peft_model(model, config)


def to_save(model: nn.Module) -> transformers.PreTrainedModel:
    """Return the plain transformers model: adapters merged into its weights, nothing of the training left in it."""
    merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    if "forward" in vars(getattr(getattr(merged.base_model, "encoder", None), "layer", [nn.Module()])[-1]):
        use_all_tokens(merged)
    return merged


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Compute in the chosen format; weights stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
