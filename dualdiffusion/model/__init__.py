"""A model on disk and in memory: its folder, its modules, models by name, export.

card.py           The model card of an exported model
export.py         `python -m dualdiffusion export`
extras.py         Packages that are optional: imported only where a network of theirs is built
folder.py         The model folder
foreign_names.py  Weights of Dance Diffusion networks from elsewhere, under the names that they have here
importing.py      `python -m dualdiffusion import dance-diffusion`
label_growth.py   Room for other games
loaded.py         A whole model in memory: what `dualdiffusion.load` returns, and what sampling generates with
module.py         What every part of a model shares: a typed config, and saving and loading as safetensors and JSON
shipped.py        Models that come with the package
"""
