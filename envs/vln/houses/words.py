"""The words of all instructions in generated houses: one list for every data set, so that models fit all of them.

Ids begin at 2 (0 is silence, 1 an unknown word), as in `dynalang_py.envs.language.Vocabulary(WORDS)`. New words go to
the end.
"""

WORDS: tuple[str, ...] = (
    # Colours.
    *("red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "white", "black", "grey"),
    # Furniture.
    *("armchair", "basket", "bathtub", "bed", "bench", "bookshelf", "cabinet", "chair", "chest", "desk", "dresser"),
    *("fireplace", "fridge", "lamp", "mirror", "nightstand", "piano", "picture", "plant", "rug", "sink", "sofa"),
    *("stool", "stove", "table", "television", "toilet", "wardrobe", "washer"),
    # Rooms.
    *("living", "room", "kitchen", "dining", "bedroom", "guest", "bathroom", "office", "playroom", "laundry"),
    *("hallway", "doorway"),
    # What ties them together.
    *(".", ",", "the", "a", "it", "is", "are", "you", "your", "and", "then", "when", "until", "after", "first"),
    *("go", "walk", "move", "find", "look", "stop", "stand", "wait", "turn", "leave", "enter", "pass", "take", "keep"),
    *("make", "need", "goal", "way", "there", "to", "toward", "over", "for", "in", "of", "out", "into", "on", "by"),
    *("near", "next", "front", "past", "through", "straight", "left", "right", "around", "going"),
)
