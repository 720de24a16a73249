"""What is measured of clips: all excerpts of both splits, and some of them through the format and through the VAE."""

from __future__ import annotations

from torch import Tensor

from sampling.evaluation.chosen import Chosen, Settings
from sampling.evaluation.clips import Excerpt, through_the_format, through_the_vae
from sampling.evaluation.copies import CopySearch
from sampling.evaluation.embeddings import Embedding, build_embedding
from sampling.evaluation.embeddings.mel_statistics import MelStatistics
from sampling.evaluation.measures import THROUGH_FORMAT, THROUGH_VAE, TRAINING, VALIDATION, ClipFeatures
from sampling.evaluation.music.record import listen
from sampling.evaluation.report.picture import Examples
from sampling.evaluation.report.stages import Stages
from sampling.evaluation.sound import sound_figures
from sampling.generator import Generator


class FeatureExtractor:
    """Measures clips one by one."""

    def __init__(self, generator: Generator, settings: Settings) -> None:
        self.sample_rate = generator.sample_rate
        self.embeddings: list[Embedding] = [build_embedding(name, generator) for name in settings.embeddings]
        self.statistics = MelStatistics(self.sample_rate)
        self.search = CopySearch(self.sample_rate, settings.seconds)

    def extract(self, clip: Tensor, name: str, game: str, *, track: str = "", patches: bool = True) -> ClipFeatures:
        """What is kept of a clip (C, N)."""
        embedded = {}
        for embedding in self.embeddings:
            frames = embedding(clip, self.sample_rate)
            embedded[embedding.name] = frames[None] if frames.ndim == 1 else frames
        return ClipFeatures(
            name=name,
            game=game,
            embedded=embedded,
            timbre=self.statistics(clip),
            sound=sound_figures(clip, self.sample_rate),
            patches=self.search.patches(clip) if patches else None,
            music=listen(clip, self.sample_rate),
            track=track,
        )


def split_features(
    generator: Generator,
    extractor: FeatureExtractor,
    chosen: Chosen,
    settings: Settings,
    stages: Stages,
    examples: Examples,
) -> dict[str, list[ClipFeatures]]:
    """All excerpts of both splits; and as many training excerpts as clips are generated through format and VAE.

    Args:
        examples: is given the first of these of each game.
    """
    channels, iterations = generator.format.num_channels, settings.request.get("phase_iterations")
    compared = chosen.balanced(chosen.training, settings.clips)
    features: dict[str, list[ClipFeatures]] = {}

    def extract(clip: Tensor, excerpt: Excerpt, *, patches: bool) -> ClipFeatures:
        track = excerpt.track
        return extractor.extract(clip, excerpt.name, track.game, track=track.file_name, patches=patches)

    for name, split in ((TRAINING, chosen.training), (VALIDATION, chosen.validation)):
        items = [excerpt for game in chosen.games for excerpt in split[game]]
        searched = set(items if name == VALIDATION else compared)
        with stages.stage(f"measuring {name} clips", len(items)) as stage:
            features[name] = []
            for excerpt in items:
                features[name].append(extract(excerpt.read(channels), excerpt, patches=excerpt in searched))
                stage.advance()
    with stages.stage("training clips through format and VAE", len(compared)) as stage:
        features[THROUGH_FORMAT], features[THROUGH_VAE] = [], []
        for excerpt in compared:
            clip, game = excerpt.read(channels), excerpt.track.game
            examples.add(TRAINING, game, clip)
            for name, through in ((THROUGH_FORMAT, through_the_format), (THROUGH_VAE, through_the_vae)):
                made = through(generator, clip, game, iterations)
                examples.add(name, game, made)
                features[name].append(extract(made, excerpt, patches=name == THROUGH_VAE))
            stage.advance()
    return features
