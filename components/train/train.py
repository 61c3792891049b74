r"""Train: fine-tune a checkpoint on the data set that prep wrote; one trial of the sweep.

Started again on the same --checkpoints folder, it goes on where it was ended.

Example:
    python components/train/train.py --dataset build/dataset --model build/model --checkpoints build/checkpoints \
        --learning_rate 1e-4 --num_train_epochs 2
"""

import logging
import sys
from collections.abc import Sequence

from finetune.stage import parse_arguments, run_stage
from finetune.training.arguments import TrainArguments
from finetune.training.fit import fit
from finetune.training.hardware_samples import hardware_sampled
from finetune.training.interruption import EXIT_CODE, InterruptedTrainingError


def main(argv: Sequence[str]) -> None:
    """Run one trial.

    Raises:
        SystemExit: status 143 when SIGTERM ended training, after its state was saved.
    """
    arguments = parse_arguments(TrainArguments, argv, __doc__)
    try:
        with hardware_sampled():
            fit(arguments)
    except InterruptedTrainingError as interruption:
        logging.getLogger(__name__).warning("%s", interruption)
        sys.exit(EXIT_CODE)


if __name__ == "__main__":
    run_stage(main)
