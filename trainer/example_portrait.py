"""Draw the portrait that the studio shows first: a person who does not exist, painted by code, with closed lips.

Knows nothing about training. Everything is laid down as soft layers with skia on a canvas of 768 × 1024 units: the
backdrop, hair behind, neck and jumper, skin with its light and shade, eyes, nose, lips, and hair in front, strand by
strand. Only the strands and the grain are random, and their seed is fixed.
"""

import numpy as np
import skia

WIDTH, HEIGHT = 768, 1024
OVERSAMPLING = 2
SEED = 7
MIDDLE = WIDTH / 2

SKIN, SKIN_LIGHT, SKIN_SHADE = 0xFFE3AE8C, 0xFFF7D3B5, 0xFF9C5A44
HAIR_DARK, HAIR_MIDDLE, HAIR_LIGHT = 0xFF2A1712, 0xFF54301F, 0xFFA9714A
LIP_UPPER, LIP_LOWER, LIP_LINE = 0xFFB05E57, 0xFFCC7C72, 0xFF5E2626
JUMPER, JUMPER_DARK = 0xFF2F6672, 0xFF173C47

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]


def draw_portrait() -> np.ndarray:
    """The portrait as uint8 RGB [1024, 768, 3]; the same on every call."""
    surface = skia.Surface(WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
    canvas = surface.getCanvas()
    canvas.scale(OVERSAMPLING, OVERSAMPLING)
    random = np.random.default_rng(SEED)
    _draw_backdrop(canvas)
    _draw_hair_behind(canvas, random)
    _draw_neck_and_jumper(canvas, random)
    _draw_face(canvas)
    for side in (-1, 1):
        canvas.save()
        canvas.translate(MIDDLE, 0)
        canvas.scale(side, 1)
        _draw_eye(canvas, catchlight_x=-side * 6)
        _draw_brow(canvas, random)
        canvas.restore()
    _draw_nose(canvas)
    _draw_lips(canvas)
    _draw_hair_in_front(canvas, random)
    large = surface.toarray(colorType=skia.kRGBA_8888_ColorType)[..., :3].astype(np.float32)
    picture = large.reshape(HEIGHT, OVERSAMPLING, WIDTH, OVERSAMPLING, 3).mean(axis=(1, 3))
    grain = random.normal(0.0, 1.6, (HEIGHT, WIDTH, 1))
    return np.clip(picture + grain, 0, 255).round().astype(np.uint8)


def _paint(color: int, alpha: float = 1.0, blur: float = 0.0, width: float = 0.0) -> skia.Paint:
    """A fill, or with `width` a round stroke; `blur` softens its edge by that many units."""
    paint = skia.Paint(AntiAlias=True, Color=skia.ColorSetA(color, round(255 * alpha)))
    if blur:
        paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    if width:
        paint.setStyle(skia.Paint.kStroke_Style)
        paint.setStrokeWidth(width)
        paint.setStrokeCap(skia.Paint.kRound_Cap)
    return paint


def _shaded(paint: skia.Paint, start: Point, end: Point, colors: list[int]) -> skia.Paint:
    paint.setShader(skia.GradientShader.MakeLinear([skia.Point(*start), skia.Point(*end)], colors))
    return paint


def _glow(center: Point, radius: float, colors: list[int], stops: list[float] | None = None) -> skia.Paint:
    paint = skia.Paint(AntiAlias=True)
    paint.setShader(skia.GradientShader.MakeRadial(skia.Point(*center), radius, colors, stops))
    return paint


def _path(start: Point, *segments: tuple[float, float, float, float, float, float], closed: bool = True) -> skia.Path:
    """A path of cubic segments, each two control points and an end."""
    path = skia.Path().moveTo(*start)
    for segment in segments:
        path.cubicTo(*segment)
    return path.close() if closed else path


def _oval(canvas: skia.Canvas, center: Point, radii: Point, paint: skia.Paint) -> None:
    (x, y), (rx, ry) = center, radii
    canvas.drawOval(skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry), paint)


def _strands(
    canvas: skia.Canvas,
    random: np.random.Generator,
    between: tuple[Curve, Curve],
    count: int,
    colors: list[int],
    *,
    width: float = 1.6,
    alpha: float = 0.5,
    stray: float = 5.0,
    fade: tuple[float, float] | None = None,
) -> None:
    """Hair: thin curves between two guide curves, each a little off the last; with `fade` seen only around these y."""
    first, last = np.array(between[0]), np.array(between[1])
    for place in np.sort(random.uniform(0, 1, count)):
        points = first * (1 - place) + last * place + random.normal(0, stray, (4, 2)) * [[0.4], [1], [1], [0.7]]
        (x, y), *rest = points.tolist()
        color = colors[random.integers(len(colors))]
        paint = _paint(color, alpha * random.uniform(0.4, 1.0), width=width * random.uniform(0.4, 1.3))
        if fade:
            top, bottom = np.array(fade) + random.normal(0, 14, 2)
            clear = skia.ColorSetA(color, 0)
            _shaded(paint, (0, top), (0, bottom), [clear, skia.ColorSetA(color, round(255 * alpha)), clear])
        canvas.drawPath(_path((x, y), tuple(np.ravel(rest).tolist()), closed=False), paint)


def _draw_backdrop(canvas: skia.Canvas) -> None:
    canvas.drawPaint(_glow((270, 330), 900, [0xFFE9D9BE, 0xFFB9B39D, 0xFF5F7370], [0.0, 0.45, 1.0]))
    for center, radius, color in (
        ((110, 180), 130, 0xFFF6E3BC),
        ((690, 300), 110, 0xFFD9C79C),
        ((650, 90), 70, 0xFFF3DDB0),
        ((60, 560), 90, 0xFFDDBF92),
        ((720, 620), 140, 0xFF7F9A92),
    ):
        _oval(canvas, center, (radius, radius), _paint(color, 0.35, blur=30))


def _draw_hair_behind(canvas: skia.Canvas, random: np.random.Generator) -> None:
    mass = _path(
        (384, 178),
        (250, 170, 190, 290, 196, 430),
        (200, 560, 165, 660, 182, 782),
        (250, 812, 520, 812, 586, 782),
        (603, 660, 568, 560, 572, 430),
        (578, 290, 518, 170, 384, 178),
    )
    canvas.drawPath(mass, _paint(0xFF20302F, 0.35, blur=22))
    canvas.drawPath(mass, _shaded(_paint(HAIR_MIDDLE, blur=2), (200, 200), (570, 700), [HAIR_MIDDLE, HAIR_DARK]))
    for side in (-1, 1):
        outer: Curve = (
            (384 + side * 60, 190),
            (384 + side * 215, 260),
            (384 + side * 176, 500),
            (384 + side * 204, 745),
        )
        inner: Curve = (
            (384 + side * 60, 240),
            (384 + side * 150, 330),
            (384 + side * 130, 560),
            (384 + side * 110, 775),
        )
        _strands(canvas, random, (outer, inner), 260, [HAIR_DARK, HAIR_MIDDLE, HAIR_MIDDLE, HAIR_LIGHT], alpha=0.42)


def _draw_neck_and_jumper(canvas: skia.Canvas, random: np.random.Generator) -> None:
    neck = _path(
        (306, 590), (312, 700, 306, 760, 250, 806), (300, 900, 468, 900, 518, 806), (462, 760, 456, 700, 462, 590)
    )
    canvas.drawPath(neck, _shaded(_paint(SKIN), (280, 700), (500, 760), [0xFFD79F7E, 0xFFAE7054]))
    canvas.save()
    canvas.clipPath(neck, doAntiAlias=True)
    _oval(canvas, (392, 668), (118, 66), _paint(0xFF6E3A2C, 0.75, blur=20))
    _oval(canvas, (470, 770), (50, 90), _paint(0xFF7A4433, 0.4, blur=22))
    canvas.drawPath(_path((352, 740), (352, 780, 362, 815, 378, 838), closed=False), _paint(SKIN_SHADE, 0.3, 6, 7))
    canvas.drawPath(_path((418, 740), (418, 780, 408, 815, 394, 838), closed=False), _paint(SKIN_SHADE, 0.3, 6, 7))
    canvas.restore()
    jumper = _path(
        (40, 1024),
        (52, 900, 130, 850, 262, 786),
        (300, 868, 468, 868, 506, 786),
        (638, 850, 716, 900, 728, 1024),
    )
    canvas.drawPath(jumper, _paint(0xFF10262C, 0.4, blur=12))
    canvas.drawPath(jumper, _shaded(_paint(JUMPER), (130, 850), (640, 1020), [0xFF44848F, JUMPER, JUMPER_DARK]))
    canvas.save()
    canvas.clipPath(jumper, doAntiAlias=True)
    for x in range(20, 760, 13):
        lean = (x - MIDDLE) * 0.22
        rib = _path((x - lean, 780), (x, 850, x + lean * 0.4, 940, x + lean * 0.6, 1030), closed=False)
        canvas.drawPath(rib, _paint(JUMPER_DARK, 0.28, blur=1.5, width=4))
        rib.offset(4, 0)
        canvas.drawPath(rib, _paint(0xFF7FB6BC, 0.16, blur=1.2, width=2.5))
    _oval(canvas, (620, 980), (150, 130), _paint(0xFF0B232A, 0.45, blur=40))
    canvas.restore()
    collar = _path((254, 780), (296, 880, 472, 880, 514, 780), closed=False)
    canvas.drawPath(collar, _paint(0xFF10262C, 0.5, blur=7, width=40))
    canvas.drawPath(collar, _shaded(_paint(JUMPER, width=34), (254, 780), (514, 800), [0xFF4B8E99, 0xFF255762]))
    for place in np.linspace(0.02, 0.98, 40):
        knot = np.array([(254, 780), (296, 880), (472, 880), (514, 780)], float)
        for _ in range(3):
            knot = knot[:-1] * (1 - place) + knot[1:] * place
        x, y = knot[0]
        canvas.drawLine(x, y - 15, x + random.normal(0, 0.5), y + 15, _paint(JUMPER_DARK, 0.5, blur=1, width=2.2))


def _face_shape() -> skia.Path:
    return _path(
        (384, 262),
        (290, 262, 238, 330, 238, 430),
        (238, 520, 256, 586, 300, 640),
        (328, 676, 352, 698, 384, 698),
        (416, 698, 440, 676, 468, 640),
        (512, 586, 530, 520, 530, 430),
        (530, 330, 478, 262, 384, 262),
    )


def _draw_face(canvas: skia.Canvas) -> None:
    face = _face_shape()
    canvas.drawPath(face, _shaded(_paint(SKIN, blur=1), (250, 330), (530, 640), [0xFFF2C4A2, SKIN, 0xFFBF8262]))
    canvas.save()
    canvas.clipPath(face, doAntiAlias=True)
    light_and_shade = (
        ((540, 500), (52, 200), 0xFF7E452F, 0.62, 26),  # the side away from the light
        ((232, 540), (26, 170), 0xFF8A4E38, 0.45, 20),
        ((384, 262), (170, 44), 0xFF6A3826, 0.42, 26),  # hair's shadow on the forehead
        ((384, 706), (92, 22), 0xFF8A4E38, 0.50, 14),  # under the chin
        ((484, 596), (34, 62), 0xFF8F5640, 0.36, 20),  # hollow of the cheek
        ((284, 600), (26, 58), 0xFF9C614A, 0.26, 18),
        ((330, 352), (82, 46), SKIN_LIGHT, 0.60, 26),  # forehead
        ((300, 520), (38, 30), SKIN_LIGHT, 0.55, 16),  # cheekbones
        ((462, 518), (30, 26), SKIN_LIGHT, 0.34, 15),
        ((372, 672), (30, 16), SKIN_LIGHT, 0.50, 10),  # chin
        ((290, 552), (42, 28), 0xFFD9705E, 0.34, 18),  # blush
        ((474, 552), (42, 28), 0xFFC9604F, 0.34, 18),
        ((384, 641), (34, 8), SKIN_SHADE, 0.46, 7),  # below the lower lip
        ((384, 574), (7, 13), SKIN_SHADE, 0.24, 4),  # philtrum
    )
    for center, radii, color, alpha, blur in light_and_shade:
        _oval(canvas, center, radii, _paint(color, alpha, blur))
    for side in (-1, 1):
        x = MIDDLE + side * 66
        _oval(canvas, (x, 450), (48, 25), _paint(0xFF8C4F3D, 0.34, 13))  # socket
        _oval(canvas, (MIDDLE + side * 25, 452), (11, 24), _paint(0xFF87492F, 0.34 + 0.10 * side, 9))
        _oval(canvas, (x, 489), (33, 7), _paint(0xFFA9664F, 0.30, 6))  # below the eye
        crease = _path((MIDDLE + side * 41, 545), (MIDDLE + side * 60, 562, 384 + side * 68, 578, 384 + side * 70, 594))
        canvas.drawPath(crease, _paint(SKIN_SHADE, 0.22, 6, 5))
    canvas.restore()


def _draw_eye(canvas: skia.Canvas, catchlight_x: float) -> None:
    """One eye to the right of the middle line, x from there; the caller mirrors it."""
    opening = _path((36, 472), (46, 452, 72, 444, 97, 463), (86, 482, 54, 486, 36, 472))
    canvas.drawPath(opening, _shaded(_paint(0xFFF0E6DE), (66, 448), (66, 482), [0xFFC9B8AE, 0xFFF6EEE7]))
    canvas.save()
    canvas.clipPath(opening, doAntiAlias=True)
    iris = (67, 463)
    _oval(canvas, iris, (16.5, 16.5), _glow(iris, 16.5, [0xFF8A5A2C, 0xFF6B4423, 0xFF2B1A10], [0.3, 0.75, 1.0]))
    for angle in np.linspace(0, 2 * np.pi, 36, endpoint=False):
        x, y = np.cos(angle), np.sin(angle)
        spoke = _paint(0xFFC08A4C, 0.35, 0.4, 0.9)
        canvas.drawLine(iris[0] + 8 * x, iris[1] + 8 * y, iris[0] + 14 * x, iris[1] + 14 * y, spoke)
    _oval(canvas, iris, (7.6, 7.6), _paint(0xFF120A07, 1, 0.6))
    _oval(canvas, (67, 445), (36, 12), _paint(0xFF2A1510, 0.55, 4))  # the lid's shadow
    _oval(canvas, (39, 472), (5, 4), _paint(0xFFD28C7C, 0.8, 1.5))
    canvas.restore()
    _oval(canvas, (67 + catchlight_x, 457), (4.2, 4.2), _paint(0xFFFFFFFF, 0.95, 0.6))
    _oval(canvas, (67 - catchlight_x, 470), (2.2, 2.2), _paint(0xFFFFE9CC, 0.5, 0.8))
    upper = _path((35, 473), (46, 451, 72, 443, 99, 462), closed=False)
    canvas.drawPath(upper, _paint(0xFF24120D, 0.95, 0.5, 3.6))
    canvas.drawPath(_path((84, 450), (92, 453, 98, 458, 104, 457), closed=False), _paint(0xFF24120D, 0.9, 0.5, 2.6))
    canvas.drawPath(_path((38, 474), (54, 486, 84, 484, 97, 464), closed=False), _paint(0xFF6B3A2C, 0.55, 0.9, 1.7))
    canvas.drawPath(_path((36, 459), (50, 436, 78, 431, 102, 452), closed=False), _paint(0xFF7A4434, 0.62, 1.4, 2.6))
    _oval(canvas, (70, 443), (22, 4), _paint(SKIN_LIGHT, 0.42, 3))


def _draw_brow(canvas: skia.Canvas, random: np.random.Generator) -> None:
    """One brow to the right of the middle line, as hairs over a soft ground."""
    ground = _path((28, 424), (50, 406, 86, 398, 118, 423), (90, 410, 56, 417, 30, 434))
    canvas.drawPath(ground, _paint(HAIR_DARK, 0.62, 2.5))
    for place in random.uniform(0, 1, 150):
        x = 30 + 84 * place
        y = 433 - 25 * np.sin(np.pi * (0.16 + 0.58 * place)) + 6 * place + random.normal(0, 2.2) * (1 - 0.6 * place)
        rise = 9 * (1 - place) - 2
        hair = _path((x, y), (x + 3, y - rise * 0.5, x + 6, y - rise * 0.8, x + 9, y - rise * 0.7), closed=False)
        canvas.drawPath(hair, _paint(HAIR_DARK, 0.5, 0.2, 1.2))


def _draw_nose(canvas: skia.Canvas) -> None:
    soft = (
        ((402, 500), (9, 50), 0xFF8A4E38, 0.34, 8),  # shaded side of the bridge
        ((378, 490), (6, 52), SKIN_LIGHT, 0.62, 5),
        ((380, 533), (12, 10), SKIN_LIGHT, 0.72, 6),  # tip
        ((412, 540), (12, 13), 0xFF8A4E38, 0.36, 7),  # wings
        ((353, 542), (9, 11), 0xFF9C614A, 0.26, 6),
        ((386, 558), (34, 6), 0xFF7A4330, 0.48, 5),  # below
    )
    for center, radii, color, alpha, blur in soft:
        _oval(canvas, center, radii, _paint(color, alpha, blur))
    for side in (-1, 1):
        x = MIDDLE + side * 15
        _oval(canvas, (x, 552), (8, 3.6), _paint(0xFF4A2018, 0.85, 1.8))
        wing = _path(
            (384 + side * 27, 528), (384 + side * 36, 538, 384 + side * 34, 553, 384 + side * 24, 555), closed=False
        )
        canvas.drawPath(wing, _paint(0xFF7A4330, 0.42, 2.2, 3))


def _draw_lips(canvas: skia.Canvas) -> None:
    upper = _path(
        (328, 603),
        (346, 596, 364, 588, 374, 588),
        (379, 588, 381, 591, 384, 591),
        (387, 591, 389, 588, 394, 588),
        (404, 588, 422, 596, 440, 603),
        (416, 607, 400, 604, 384, 607),
        (368, 604, 352, 607, 328, 603),
    )
    lower = _path(
        (328, 603), (352, 607, 368, 604, 384, 607), (400, 604, 416, 607, 440, 603), (420, 640, 348, 640, 328, 603)
    )
    canvas.drawPath(lower, _shaded(_paint(LIP_LOWER, blur=1.3), (384, 604), (384, 632), [0xFFB9655D, LIP_LOWER]))
    canvas.drawPath(upper, _shaded(_paint(LIP_UPPER, blur=1.3), (384, 588), (384, 607), [0xFFC2736A, LIP_UPPER]))
    _oval(canvas, (376, 619), (26, 5), _paint(0xFFF3BDB0, 0.55, 4))
    _oval(canvas, (414, 618), (16, 8), _paint(0xFF8A4039, 0.30, 6))
    line = _path((329, 603), (352, 608, 368, 604, 384, 607.5), (400, 604, 416, 608, 439, 603), closed=False)
    canvas.drawPath(line, _paint(LIP_LINE, 0.5, 2.5, 4))
    canvas.drawPath(line, _paint(LIP_LINE, 0.95, 0.5, 1.8))
    for side in (-1, 1):
        _oval(canvas, (384 + side * 57, 602.5), (5, 3.4), _paint(0xFF6E3328, 0.55, 2.5))


def _draw_hair_in_front(canvas: skia.Canvas, random: np.random.Generator) -> None:
    """A side parting: from (336, 215) over both temples and down along the cheeks onto the shoulders."""
    colors = [HAIR_DARK, HAIR_MIDDLE, HAIR_MIDDLE, HAIR_LIGHT]
    left = _path(
        (340, 190), (262, 194, 196, 290, 202, 430), (206, 560, 172, 660, 184, 790), (206, 812, 262, 812, 274, 790),
        (240, 690, 252, 570, 242, 470), (240, 390, 282, 300, 344, 252),
    )  # fmt: skip
    right = _path(
        (328, 192), (440, 160, 570, 250, 566, 430), (562, 560, 598, 660, 586, 790), (562, 812, 506, 812, 494, 790),
        (530, 690, 518, 570, 528, 480), (524, 400, 450, 310, 336, 252),
    )  # fmt: skip
    for lock, start, end in ((left, (200, 240), (260, 790)), (right, (360, 200), (580, 790))):
        canvas.drawPath(lock, _paint(0xFF3A1C12, 0.5, 10))
        canvas.drawPath(lock, _shaded(_paint(HAIR_MIDDLE, blur=2.5), start, end, [0xFF6B3E28, HAIR_MIDDLE, HAIR_DARK]))
    left_outer: Curve = ((338, 190), (160, 250), (232, 540), (180, 802))
    left_inner: Curve = ((341, 252), (222, 330), (262, 600), (272, 792))
    right_outer: Curve = ((332, 186), (606, 170), (548, 520), (590, 802))
    right_inner: Curve = ((338, 252), (540, 330), (520, 600), (496, 792))
    for outer, inner, count in ((left_outer, left_inner, 330), (right_outer, right_inner, 480)):
        _strands(canvas, random, (outer, inner), count, colors, alpha=0.5, stray=3.5)
        gloss = [0xFFC98F62, 0xFFE0AE80]
        _strands(canvas, random, (outer, inner), 110, gloss, width=1.3, alpha=0.40, stray=3.5, fade=(215, 400))
        _strands(canvas, random, (outer, inner), 60, gloss, width=1.1, alpha=0.22, stray=3.5, fade=(560, 740))
    parting = _path((336, 188), (337, 205, 339, 230, 341, 254), closed=False)
    canvas.drawPath(parting, _paint(HAIR_DARK, 0.7, 2.5, 4))
