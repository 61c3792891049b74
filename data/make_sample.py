"""Make the sample data set: short customer messages with an intent each.

Everything comes from the phrase lists below and a seed; no outside text is used. A model has something to learn, and
cannot reach 100 %: some phrasings occur in validation and test only, some name the words of another intent, letters
are mistyped, and a share of the labels is wrong on purpose, as in any data set that people labelled.

Example:
    python data/make_sample.py --folder data/customer_messages
"""

import argparse
import csv
import random
from collections.abc import Iterator
from pathlib import Path

ROWS = {"train": 1400, "validation": 300, "test": 300}
LABEL_NOISE = 0.03
TYPO_SHARE = 0.35
SEED = 20

# The last quarter of each list (rounded down) is kept out of train.
PHRASES = {
    "billing": [
        "I was charged twice for order {order}",
        "there is a payment of {amount} on my card that I do not recognise",
        "why is my invoice {amount} higher than the price on the site",
        "the discount code was not taken off my total",
        "please send me the invoice for {product} again, with our VAT number on it",
        "my card was declined but the money has left my account",
        "you took {amount} this month although I am on the free plan",
        "can I pay for {product} in instalments",
        "the amount you debited does not match the receipt",
        "I need a receipt for {amount} for my employer",
        "which payment methods do you accept for {product}",
        "my bank statement shows you billed me again on {day}",
        "could you explain the extra fee of {amount}",
        "I would like to change the card that the subscription is taken from",
        "two debits, one purchase: what happened there",
        "how come I owe {amount} when everything was settled on {day}",
    ],
    "delivery": [
        "where is my order {order}",
        "the parcel should have been here on {day}",
        "tracking has not moved since {day}",
        "the courier left {product} at the wrong address",
        "can you deliver {product} on {day} instead",
        "it says delivered but nothing has arrived",
        "how long does shipping to {city} take",
        "I want to change the delivery address of order {order}",
        "nobody rang the bell and now the package is gone back to the depot",
        "do you ship {product} to {city}",
        "my package is stuck in {city} for a week now",
        "half of the order came, when will the rest be here",
        "is express delivery possible for {product}",
        "the driver marked it as handed over, I was at home all day and saw no one",
        "still waiting for {product}, it left your warehouse on {day}",
        "what is the holdup with {order}, I am leaving {city} on {day}",
    ],
    "returns": [
        "I want to send {product} back",
        "how do I return order {order}",
        "{product} is the wrong size, can I swap it for a larger one",
        "when will I get my money back for {product}",
        "I sent the parcel back on {day} and have not been refunded",
        "the return label does not print",
        "{product} came in the wrong colour, I would like to exchange it",
        "can I still return {product} after {amount_days} days",
        "you refunded only part of the price of {product}",
        "who pays the postage if I send {product} back",
        "I changed my mind about {product}",
        "please exchange {product}, the box was already open",
        "I dropped the return off in {city}, what happens next",
        "it does not fit and I do not want it any more",
        "the money for what I gave back on {day} has not turned up",
        "is it too late to hand {product} back in your shop in {city}",
    ],
    "account": [
        "I forgot my password",
        "I cannot log in to my account since {day}",
        "please change the email address of my account",
        "the reset link you sent has expired",
        "how do I delete my account and my data",
        "my account is locked after too many attempts",
        "the code for signing in never arrives on my phone",
        "someone else has signed in to my account from {city}",
        "I want to merge my two accounts",
        "can my colleague get a login of her own",
        "it says my user name is unknown",
        "please take me off your newsletter",
        "how can I turn on the second factor",
        "the site throws me out whenever I enter my credentials",
        "I no longer have the phone number that you send the codes to",
        "which personal details of mine do you keep, and can they be erased",
    ],
    "technical": [
        "{product} does not turn on any more",
        "the app crashes when I open my orders",
        "{product} stopped working after {amount_days} days",
        "the screen of {product} flickers",
        "I cannot connect {product} to my wifi",
        "the battery of {product} is empty after an hour",
        "the update on {day} broke {product}",
        "{product} makes a strange noise",
        "the app is very slow since the update",
        "how do I reset {product} to its factory settings",
        "{product} gets hot when it charges",
        "there is an error message when I start {product}",
        "the manual for {product} says to press a button that is not there",
        "since {day} {product} only shows a black picture",
        "I press the switch of {product} and nothing happens at all",
        "your website shows a blank page when I pay",
    ],
    "product": [
        "is {product} waterproof",
        "when will {product} be back in stock",
        "which size of {product} should I take",
        "does {product} work with my old charger",
        "what is the difference between {product} and the cheaper one",
        "how long is the guarantee on {product}",
        "do you have {product} in green",
        "is {product} suitable for children",
        "how heavy is {product}",
        "can I try {product} in your shop in {city}",
        "which of the two lasts longer, {product} or last year's",
        "where is {product} made",
        "is there a bundle with {product} and a case",
        "I am looking for a present for {amount}, would {product} do",
        "will there be a newer {product} this year",
        "what exactly comes in the box with {product}",
    ],
}
SLOTS = {
    "product": [
        "the headphones",
        "the blue jacket",
        "the kettle",
        "the running shoes",
        "the tablet",
        "the desk lamp",
        "the camera",
        "the backpack",
        "the keyboard",
        "the coffee machine",
        "the smart watch",
        "the office chair",
        "the speaker",
        "the tent",
    ],
    "city": ["Leeds", "Lyon", "Porto", "Graz", "Turin", "Ghent", "Malmo", "Cork", "Basel", "Bergen"],
    "day": [
        "Monday",
        "Tuesday",
        "Friday",
        "the 3rd",
        "the 14th",
        "the weekend",
        "Thursday",
        "the 21st",
        "last Wednesday",
    ],
    "amount": ["12 euros", "49.90", "£8", "120 euros", "$35", "7.50", "£60", "19.99"],
    "amount_days": ["two", "ten", "20", "30", "35", "five"],
}
OPENERS = [
    "",
    "",
    "",
    "hi, ",
    "hello, ",
    "good morning, ",
    "sorry to bother you, ",
    "third time I write: ",
    "quick question: ",
]
CLOSERS = [
    "",
    "",
    "",
    " thanks",
    " please help",
    " this is urgent",
    " can you check?",
    " regards",
    " I am a bit annoyed",
]


def make_rows(seed: int) -> dict[str, list[tuple[str, str]]]:
    """Return (message, intent) rows by split, without a message twice."""
    generator = random.Random(seed)
    seen: set[str] = set()
    return {split: list(_split_rows(generator, split, count, seen)) for split, count in ROWS.items()}


def _split_rows(generator: random.Random, split: str, count: int, seen: set[str]) -> Iterator[tuple[str, str]]:
    intents = list(PHRASES)
    made = 0
    while made < count:
        intent = intents[made % len(intents)]
        message = _message(generator, intent, split)
        if message.lower() in seen:
            continue
        seen.add(message.lower())
        wrong = [other for other in intents if other != intent]
        yield message, generator.choice(wrong) if generator.random() < LABEL_NOISE else intent
        made += 1


def _message(generator: random.Random, intent: str, split: str) -> str:
    phrases = PHRASES[intent]
    in_train = len(phrases) - len(phrases) // 4
    phrase = generator.choice(phrases[:in_train] if split == "train" else phrases)
    slots = {name: generator.choice(values) for name, values in SLOTS.items()}
    slots["order"] = f"{generator.choice('ABCK')}{generator.randrange(1000, 9999)}"
    text = generator.choice(OPENERS) + phrase.format(**slots) + generator.choice(CLOSERS)
    if generator.random() < TYPO_SHARE:
        text = _mistype(generator, text)
    if generator.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text + generator.choice(["", "", ".", "!", "?"])


def _mistype(generator: random.Random, text: str) -> str:
    """Swap, drop or double one or two letters, as hurried fingers do."""
    for _ in range(generator.choice([1, 1, 2])):
        at = generator.randrange(1, len(text) - 2)
        change = generator.choice(["swap", "drop", "double"])
        if change == "swap":
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        elif change == "drop":
            text = text[:at] + text[at + 1 :]
        else:
            text = text[:at] + text[at] + text[at:]
    return text


def write_sample(folder: Path, seed: int) -> None:
    """Write train.csv, validation.csv and test.csv with the columns message and intent."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in make_rows(seed).items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["message", "intent"])
            writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="output folder")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    write_sample(arguments.folder, arguments.seed)
