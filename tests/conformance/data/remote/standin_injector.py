"""The semantic branch's stand-in: the code that a released repository would bring beside its weights."""

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class StandinInjector(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, semantic_channels: int = 48) -> None:
        super().__init__()
        self.dino_controlnet_cond_embedding = nn.Sequential(
            nn.Conv2d(semantic_channels, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 16, 3, padding=1),
        )
        self.levels = nn.ModuleList(
            [
                nn.Conv2d(16, 16, 1),
                nn.Conv2d(16, 16, 1),
                nn.Conv2d(16, 16, 1),
                nn.Conv2d(16, 16, 3, stride=2, padding=1),
                nn.Conv2d(16, 32, 1),
                nn.Conv2d(32, 32, 1),
            ]
        )

    def forward(self, sample, timestep, encoder_hidden_states, return_dict=True):
        assert timestep == 0
        residuals = []
        for level in self.levels:
            sample = level(sample)
            residuals.append(sample)
        return residuals, None
