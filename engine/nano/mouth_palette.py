"""What a portrait tells about its mouth: the colours for painting its inside, its teeth, its lips' rims.

Colours are float RGB 0–255 of the picture's own values, so that painted parts share its light and toning. Knows nothing
about motion or drawing. The paper has no such part: it belongs to nano.
"""

import numpy as np

from engine.nano.face_mesh import INNER_LIPS, LEFT_EYE, RIGHT_EYE, Opening, opening_loop, smoothstep
from engine.nano.sprites import cut_out, sample

# fmt: off
# The outer rims of the lips, across from the entries of INNER_LIPS, from corner to corner.
OUTER_LIPS = ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291), (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291))
# Between them lie two more rims of each lip.
LIP_LAYERS = (((62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292), (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292)),
              ((76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306), (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306)))
CHEEKS = (50, 280, 205, 425, 101, 330)
# fmt: on
OWN_MOUTH_MM = (1.2, 2.8)  # a portrait's own opening: below the first nothing of it is kept, above the second all of it
THROAT_LIGHT, TONGUE_LIGHT = 0.3, 0.74  # of the skin's luminance, between lips in daylight
SNAP_REACH, SNAP_STEPS = 0.7, 24  # share of a lip's height within which its true rim is looked for


class Palette:
    """Colours of a mouth's inside."""

    def __init__(self, picture: np.ndarray, rest_px: np.ndarray, own_opening_mm: float) -> None:
        """picture uint8 RGB [H, W, 3]; rest_px float [468, 3]; the portrait's opening in mm."""
        middles = 0.5 * (rest_px[np.array(INNER_LIPS)] + rest_px[np.array(OUTER_LIPS)])[:, 3:8].reshape(-1, 3)
        self.lip = np.maximum(np.median(sample(picture, middles), 0), 1.0)
        skin = np.maximum(np.median(sample(picture, rest_px[list(CHEEKS)]), 0), 1.0)
        self.tooth = self._unseen_tooth(picture, rest_px[:, :2], skin)
        self.shows_teeth = False
        shown = _brightest(_pixels_inside(picture, rest_px[:, :2], INNER_LIPS))
        if own_opening_mm > OWN_MOUTH_MM[0] and len(shown) and self._is_enamel(own := shown.mean(0), skin):
            self.shows_teeth = True
            self.tooth = np.clip(own * np.clip(0.85 * luminance(skin) / luminance(own), 1.0, 1.4), 1, 252)
        rim = sample(picture, rest_px[opening_loop(INNER_LIPS)])
        flesh = self.lip * min(1.0, 120.0 / luminance(self.lip))
        self.cavity = np.minimum(0.22 * flesh, np.percentile(rim, 2, axis=0) + 12.0)
        self.throat = _lit(flesh, THROAT_LIGHT * float(luminance(skin)))
        """Of what lies behind teeth and tongue, in the light that falls between the lips."""
        self.tongue = _lit(0.7 * flesh + 0.3 * skin, TONGUE_LIGHT * float(luminance(skin)))
        self.gum = 0.65 * flesh + 0.15 * skin

    def _is_enamel(self, colour: np.ndarray, skin: np.ndarray) -> bool:
        """Whether the brightest of what an open mouth shows is teeth, not the inner side of a lip."""
        if _redness(self.lip) > 0.1:
            return bool(luminance(colour) > 0.6 * luminance(skin) and _redness(colour) < 0.5 * _redness(self.lip))
        # A picture without colour has only its light to go by.
        return bool(luminance(colour) > max(0.8 * luminance(skin), 1.2 * luminance(self.lip)))

    @staticmethod
    def _unseen_tooth(picture: np.ndarray, points: np.ndarray, skin: np.ndarray) -> np.ndarray:
        """Enamel by the eyes' whites and the skin.

        Eyes lie in the brows' shade, and a white lit by sky or screen is bluer than teeth are: the light is at least
        the skin's, the hue a third the whites', the rest the paled skin's.
        """
        light = 1.05 * float(luminance(skin))
        hue = 0.6 + 0.4 * skin / light
        lightness = light
        whites = _brightest(np.concatenate([_pixels_inside(picture, points, eye) for eye in (RIGHT_EYE, LEFT_EYE)]))
        if len(whites) and _saturation(whites.mean(0)) < _saturation(hue):
            white = whites.mean(0)
            hue = 0.25 * white / luminance(white) + 0.75 * hue
            # As light as the whites where skin is dark; hardly lighter than a skin that is light itself.
            lightness = max(light, min(1.1 * float(luminance(white)), max(1.1 * light, min(170.0, 2.0 * light))))
        return np.clip(hue * min(lightness, 238.0), 1, 252)

    def tooth_likeness(self, rgb: np.ndarray) -> np.ndarray:
        """[..., 3] → [...] in [0, 1]: 1 where a pixel is as pale as enamel and lit, 0 where it is lip or dark."""
        luma, tooth, lip = luminance(rgb), luminance(self.tooth), luminance(self.lip)
        of_tooth, of_lip = _redness(self.tooth), _redness(self.lip)
        if of_lip - of_tooth > 0.03:
            paleness = (of_lip - _redness(rgb)) / (of_lip - of_tooth)
        else:  # a picture without colour
            paleness = (luma - lip) / max(tooth - lip, 10.0)
        return smoothstep(paleness, 0.3, 0.65) * smoothstep(luma, 0.25 * tooth, 0.45 * tooth)


def snap_inner_lips(picture: np.ndarray, rest_px: np.ndarray, palette: Palette) -> np.ndarray:
    """How far FaceMesh's inner lip points lie from the lips' true rims, [468, 3] in pixels, zero off the lips.

    FaceMesh puts them well inside an open smile. From each point towards the lip's outer rim, pixels that look like
    teeth or like the dark between are followed; shifts are then evened along the lip, and the points on the lip itself
    give way in proportion.
    """
    shift = np.zeros_like(rest_px)
    steps = np.linspace(0, SNAP_REACH, SNAP_STEPS)[:, None, None]
    for which, (inner, outer) in enumerate(zip(INNER_LIPS, OUTER_LIPS, strict=True)):
        start = rest_px[list(inner)]
        path = start + steps * (rest_px[list(outer)] - start)
        colours = sample(picture, path.reshape(-1, 3)).reshape(*path.shape)
        dark = luminance(colours) < 0.35 * luminance(palette.lip)
        gap = palette.tooth_likeness(colours) + dark if palette.shows_teeth else dark
        reached = np.cumprod(gap > 0.5, axis=0).sum(0)
        reached[[0, -1]] = 0
        share = SNAP_REACH * np.minimum(reached, SNAP_STEPS - 1) / (SNAP_STEPS - 1)
        share[1:-1] = 0.25 * share[:-2] + 0.5 * share[1:-1] + 0.25 * share[2:]
        across = (rest_px[list(outer)] - start)[:, :2]
        for layer in (inner, *(layers[which] for layers in LIP_LAYERS)):
            place = ((rest_px[list(layer), :2] - start[:, :2]) * across).sum(1) / np.maximum((across**2).sum(1), 1e-6)
            shift[list(layer), :2] = (share * np.clip(1 - place, 0, 1))[:, None] * across
    return shift


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Rec. 601 luma of [..., 3]."""
    return rgb @ np.array([0.299, 0.587, 0.114])


def _lit(rgb: np.ndarray, light: float) -> np.ndarray:
    """The hue of `rgb` [3] at the luminance `light`."""
    return rgb * (light / max(float(luminance(rgb)), 1.0))


def _redness(rgb: np.ndarray) -> np.ndarray:
    luma = luminance(rgb)
    return (rgb[..., 0] - luma) / np.maximum(luma, 8.0)


def _saturation(rgb: np.ndarray) -> float:
    return float(np.ptp(rgb) / rgb.mean())


def _brightest(rgb: np.ndarray) -> np.ndarray:
    """The brightest fifth of pixels [N, 3]; glints, the top twentieth, left out."""
    order = np.argsort(luminance(rgb))
    return rgb[order[int(0.75 * len(rgb)) : int(0.95 * len(rgb))]]


def _pixels_inside(picture: np.ndarray, points: np.ndarray, opening: Opening) -> np.ndarray:
    pixels, inside, _ = cut_out(picture, points[opening_loop(opening)], 1.0)
    return pixels[inside > 0].astype(np.float64)
