"""Classes of the point benchmarks, in the order of the published networks' outputs."""

SCANNET_CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter", "desk"),
    *("curtain", "refrigerator", "shower curtain", "toilet", "sink", "bathtub", "other furniture"),
)
SCANNET200_CLASSES = (
    *("wall", "chair", "floor", "table", "door", "couch", "cabinet", "shelf", "desk", "office chair", "bed", "pillow", "sink", "picture"),
    *("window", "toilet", "bookshelf", "monitor", "curtain", "book", "armchair", "coffee table", "box", "refrigerator", "lamp"),
    *("kitchen cabinet", "towel", "clothes", "tv", "nightstand", "counter", "dresser", "stool", "cushion", "plant", "ceiling", "bathtub"),
    *("end table", "dining table", "keyboard", "bag", "backpack", "toilet paper", "printer", "tv stand", "whiteboard", "blanket"),
    *("shower curtain", "trash can", "closet", "stairs", "microwave", "stove", "shoe", "computer tower", "bottle", "bin", "ottoman"),
    *("bench", "board", "washing machine", "mirror", "copier", "basket", "sofa chair", "file cabinet", "fan", "laptop", "shower"),
    *("paper", "person", "paper towel dispenser", "oven", "blinds", "rack", "plate", "blackboard", "piano", "suitcase", "rail"),
    *("radiator", "recycling bin", "container", "wardrobe", "soap dispenser", "telephone", "bucket", "clock", "stand", "light"),
    *("laundry basket", "pipe", "clothes dryer", "guitar", "toilet paper holder", "seat", "speaker", "column", "bicycle", "ladder"),
    *("bathroom stall", "shower wall", "cup", "jacket", "storage bin", "coffee maker", "dishwasher", "paper towel roll", "machine"),
    *("mat", "windowsill", "bar", "toaster", "bulletin board", "ironing board", "fireplace", "soap dish", "kitchen counter", "doorframe"),
    *("toilet paper dispenser", "mini fridge", "fire extinguisher", "ball", "hat", "shower curtain rod", "water cooler", "paper cutter"),
    *("tray", "shower door", "pillar", "ledge", "toaster oven", "mouse", "toilet seat cover dispenser", "furniture", "cart"),
    *("storage container", "scale", "tissue box", "light switch", "crate", "power outlet", "decoration", "sign", "projector"),
    *("closet door", "vacuum cleaner", "candle", "plunger", "stuffed animal", "headphones", "dish rack", "broom", "guitar case"),
    *("range hood", "dustpan", "hair dryer", "water bottle", "handicap bar", "purse", "vent", "shower floor", "water pitcher", "mailbox"),
    *("bowl", "paper bag", "alarm clock", "music stand", "projector screen", "divider", "laundry detergent", "bathroom counter"),
    *("object", "bathroom vanity", "closet wall", "laundry hamper", "bathroom stall door", "ceiling light", "trash bin", "dumbbell"),
    *("stair rail", "tube", "bathroom cabinet", "cd case", "closet rod", "coffee kettle", "structure", "shower head", "keyboard piano"),
    *("case of water bottles", "coat rack", "storage organizer", "folded chair", "fire alarm", "power strip", "calendar", "poster"),
    *("potted plant", "luggage", "mattress"),
)
"""In the order of the benchmark (Rozenberszki and others, 2022), which is that of `segment200.npy`."""
S3DIS_CLASSES = (
    *("ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board", "clutter"),
)
KITTI_CLASSES: dict[str, tuple[int, ...]] = {
    "car": (10, 252),
    "bicycle": (11,),
    "motorcycle": (15,),
    "truck": (18, 258),
    "other vehicle": (13, 16, 20, 256, 257, 259),
    "person": (30, 254),
    "bicyclist": (31, 253),
    "motorcyclist": (32, 255),
    "road": (40, 60),
    "parking": (44,),
    "sidewalk": (48,),
    "other ground": (49,),
    "building": (50,),
    "fence": (51,),
    "vegetation": (70,),
    "trunk": (71,),
    "terrain": (72,),
    "pole": (80,),
    "traffic sign": (81,),
}
"""The 19 classes of the benchmark, each with the raw ids of the label files that belong to it."""
