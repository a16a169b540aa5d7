"""Triton kernels of depthwise convolutions for channels-last images: sums over taps, in registers.

A program computes R rows of the output for some channels. It reads each pixel of an input row once, for all columns of
the output that the pixel reaches: k products for each value read. Neighboring threads have neighboring channels, which
are neighbors in memory too. (`windows` multiplies on tensor cores, which needs the pixels of a channel side by side.)

Long rows are cut into segments of SEGMENT columns. Rows are counted over the batch: r is row r % H of image r // H.
"""

# pyright: reportGeneralTypeIssues=false
# (Triton annotates `static_range`, over which its compiler iterates, as something that can't be iterated over.)
import triton
import triton.language as tl

from .windows import ADD, GELU, GELU_BACKWARD, gelu, gelu_derivative


@triton.jit
def load_row(
    x, c, image, y, first, inside, H, W, x_b, x_y, x_x,
    COLUMNS: tl.constexpr, WHOLE: tl.constexpr, MARGIN: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Columns first - MARGIN ... of row y of each image, a tuple of (R, channels); zeros outside the image.

    WHOLE: a segment is a whole row of COLUMNS - 2 * MARGIN columns, so that its margins are zero and not read.
    """
    mask = inside & ((y >= 0) & (y < H))[:, None]
    row = x + (image * x_b + y * x_y)[:, None] + c[None, :]
    pixels = ()
    for i in tl.static_range(COLUMNS):
        column = first + i - MARGIN
        if WHOLE and (i < MARGIN or i >= COLUMNS - MARGIN):
            pixels = pixels + (0.0,)
        else:
            here = mask if WHOLE else mask & (column >= 0) & (column < W)
            pixels = pixels + (tl.load(row + column * x_x, mask=here, other=0.0).to(SUM),)
    return pixels


@triton.jit
def add_row(
    sums, pixels, taps, c, C,
    KW: tl.constexpr, SEGMENT: tl.constexpr, WHOLE: tl.constexpr, FLIP: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """The sums of SEGMENT columns after a row of the kernel; pixels: a tuple of SEGMENT + 2 * (KW // 2) columns."""
    weights = ()
    for dx in tl.static_range(KW):
        tap = -dx if FLIP else dx
        weights = weights + (tl.load(taps + tap * C + c, mask=c < C, other=0.0).to(SUM)[None, :],)
    previous, sums = sums, ()
    for i in tl.static_range(SEGMENT):
        total = previous[i]
        for dx in tl.static_range(KW):
            if not (WHOLE and (i + dx < KW // 2 or i + dx >= SEGMENT + KW // 2)):
                total += pixels[i + dx] * weights[dx]
        sums = sums + (total,)
    return sums


@triton.jit
def convolved_row(
    x, weight, start, c, image, y, first, inside, C, H, W, x_b, x_y, x_x,
    KH: tl.constexpr, KW: tl.constexpr, SEGMENT: tl.constexpr, WHOLE: tl.constexpr, FLIP: tl.constexpr,
    SUM: tl.constexpr,
):  # fmt: skip
    """start + conv(x) at columns first ... of row y, a tuple of SEGMENT tensors (R, channels); weight: (KH, KW, C)."""
    sums = ()
    for _ in tl.static_range(SEGMENT):
        sums = sums + (start,)
    for dy in range(KH):
        pixels = load_row(
            x, c, image, y + (dy - KH // 2), first, inside, H, W, x_b, x_y, x_x,
            SEGMENT + 2 * (KW // 2), WHOLE, KW // 2, SUM,
        )  # fmt: skip
        first_tap = weight + (KH * KW - 1 - dy * KW if FLIP else dy * KW) * C
        sums = add_row(sums, pixels, first_tap, c, C, KW, SEGMENT, WHOLE, FLIP, SUM)
    return sums


@triton.jit
def convolve(
    x, weight, bias, other, out, B, C, H, W, x_b, x_y, x_x, other_b, other_y, other_x,
    KH: tl.constexpr, KW: tl.constexpr, R: tl.constexpr, CHANNELS: tl.constexpr, SEGMENT: tl.constexpr,
    WHOLE: tl.constexpr, FLIP: tl.constexpr, BIAS: tl.constexpr, EPILOGUE: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """out = epilogue(conv(x) + bias), in the layout of x; grid: (blocks of rows, segments, blocks of channels)."""
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    first = tl.program_id(1) * SEGMENT
    start = tl.zeros((R, CHANNELS), SUM)
    if BIAS:
        start += tl.load(bias + c, mask=c < C, other=0.0).to(SUM)[None, :]
    r = tl.program_id(0) * R + tl.arange(0, R)
    image, y = (r // H).to(tl.int64), r % H
    inside = (r < B * H)[:, None] & (c < C)[None, :]
    sums = convolved_row(
        x, weight, start, c, image, y, first, inside, C, H, W, x_b, x_y, x_x, KH, KW, SEGMENT, WHOLE, FLIP, SUM
    )
    others = other + (image * other_b + y * other_y)[:, None] + c[None, :]
    entries = out + (image * x_b + y * x_y)[:, None] + c[None, :]
    for i in tl.static_range(SEGMENT):
        z, column = sums[i], first + i
        mask = inside if WHOLE else inside & (column < W)
        if EPILOGUE == GELU:
            z = gelu(z)
        if EPILOGUE == GELU_BACKWARD:
            z = gelu_derivative(z) * tl.load(others + column * other_x, mask=mask, other=0.0).to(SUM)
        if EPILOGUE == ADD:
            z += tl.load(others + column * other_x, mask=mask, other=0.0).to(SUM)
        tl.store(entries + column * x_x, z.to(out.dtype.element_ty), mask=mask)


@triton.jit
def moments(
    x, weight, out, B, C, H, W, LOOPS, x_b, x_y, x_x,
    KERNELS: tl.constexpr, R: tl.constexpr, CHANNELS: tl.constexpr, SEGMENT: tl.constexpr, WHOLE: tl.constexpr,
    SUM: tl.constexpr,
):  # fmt: skip
    """out[part, :, n, c] = sums of the n-th convolution of x and of its square, for parallel convolutions.

    KERNELS: (rows, columns, taps before it) of each; weight: (taps of all, C).
    grid: (parts of the rows, segments, blocks of channels); a program's convolutions read the same pixels, so that only
    the first reads them from memory.
    """
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    first = tl.program_id(1) * SEGMENT
    start = tl.zeros((R, CHANNELS), SUM)
    totals, squares = (), ()
    for _ in tl.static_range(len(KERNELS)):
        totals, squares = totals + (start,), squares + (start,)
    for loop in range(LOOPS):
        r = (tl.program_id(0) * LOOPS + loop) * R + tl.arange(0, R)
        inside = (r < B * H)[:, None] & (c < C)[None, :]
        totals_before, totals, squares_before, squares = totals, (), squares, ()
        for n in tl.static_range(len(KERNELS)):
            sums = convolved_row(
                x, weight + KERNELS[n][2] * C, start, c, (r // H).to(tl.int64), r % H, first, inside, C, H, W,
                x_b, x_y, x_x, KERNELS[n][0], KERNELS[n][1], SEGMENT, WHOLE, False, SUM,
            )  # fmt: skip
            total, square = totals_before[n], squares_before[n]
            for i in tl.static_range(SEGMENT):
                z = tl.where(inside if WHOLE else inside & (first + i < W), sums[i], 0.0)
                total += z
                square += z * z
            totals, squares = totals + (total,), squares + (square,)
    part = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    for n in tl.static_range(len(KERNELS)):
        entries = out + (part * 2 * len(KERNELS) + n) * C + c
        tl.store(entries, tl.sum(totals[n], 0), mask=c < C)
        tl.store(entries + len(KERNELS) * C, tl.sum(squares[n], 0), mask=c < C)


@triton.jit
def convolve_twice(
    x, key, key_bias, value, value_bias, out, B, C, H, W, STRIPS, x_b, x_y, x_x,
    KH: tl.constexpr, KW: tl.constexpr, R: tl.constexpr, CHANNELS: tl.constexpr, SEGMENT: tl.constexpr,
    WHOLE: tl.constexpr, MARGIN: tl.constexpr, DOWN: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """out = conv(gelu(conv(x) + key_bias)) + value_bias; grid: (parts of R strips, segments, blocks of channels).

    A strip is DOWN rows of an image. A program goes down its strips and keeps the last KH rows of intermediate results
    in registers. MARGIN: columns of them on either side of a segment; none if it is a whole row.
    """
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    width: tl.constexpr = SEGMENT + 2 * MARGIN
    first = tl.program_id(1) * SEGMENT - MARGIN
    strip = tl.program_id(0) * R + tl.arange(0, R)
    image, top = (strip // STRIPS).to(tl.int64), strip % STRIPS * DOWN
    inside = (strip < B * STRIPS)[:, None] & (c < C)[None, :]
    zeros = tl.zeros((R, CHANNELS), SUM)
    key_start = zeros + tl.load(key_bias + c, mask=c < C, other=0.0).to(SUM)[None, :]
    value_start = zeros + tl.load(value_bias + c, mask=c < C, other=0.0).to(SUM)[None, :]
    scores = ()
    for _ in tl.static_range(KH * width):
        scores = scores + (zeros,)
    for step in range(DOWN + KH - 1):
        y = top + step - KH // 2
        keys = convolved_row(
            x, key, key_start, c, image, y, first, inside, C, H, W, x_b, x_y, x_x, KH, KW, width, WHOLE, False, SUM
        )
        previous, scores = scores, ()
        for i in tl.static_range(width, KH * width):
            scores = scores + (previous[i],)
        real = inside & ((y >= 0) & (y < H))[:, None]
        for i in tl.static_range(width):
            here = real if WHOLE else real & (first + i >= 0) & (first + i < W)
            score = tl.where(here, gelu(keys[i]), 0.0).to(x.dtype.element_ty)  # as a tensor in memory is rounded
            scores = scores + (score.to(SUM),)
        answers = ()
        for _ in tl.static_range(SEGMENT):
            answers = answers + (value_start,)
        for dy in tl.static_range(KH):
            row = ()
            for i in tl.static_range(SEGMENT + 2 * (KW // 2)):
                if WHOLE and (i < KW // 2 or i >= SEGMENT + KW // 2):
                    row = row + (0.0,)
                else:
                    row = row + (scores[dy * width + i - KW // 2 + MARGIN],)
            answers = add_row(answers, row, value + dy * KW * C, c, C, KW, SEGMENT, WHOLE, False, SUM)
        below = y - KH // 2
        entries = out + (image * x_b + below * x_y)[:, None] + c[None, :]
        mask = inside & ((below >= top) & (below < H))[:, None]
        for i in tl.static_range(SEGMENT):
            column = first + MARGIN + i
            here = mask if WHOLE else mask & (column < W)
            tl.store(entries + column * x_x, answers[i].to(out.dtype.element_ty), mask=here)


@triton.jit
def correlate(
    x, grad, out, grad_sums, B, C, H, W, LOOPS, x_b, x_y, x_x, grad_b, grad_y, grad_x,
    KH: tl.constexpr, KW: tl.constexpr, R: tl.constexpr, CHANNELS: tl.constexpr, SEGMENT: tl.constexpr,
    WHOLE: tl.constexpr, BLOCKS: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """out[part, tap, c] = sum over pixels of the gradient times the tap's pixel of x.

    grid: (parts of the rows, segments, KH * BLOCKS of channels); a program has the taps of one row of the kernel.
    """
    dy = tl.program_id(2) // BLOCKS
    c = (tl.program_id(2) % BLOCKS) * CHANNELS + tl.arange(0, CHANNELS)
    first = tl.program_id(1) * SEGMENT
    total = tl.zeros((R, CHANNELS), SUM)
    products = ()
    for _ in tl.static_range(KW):
        products = products + (tl.zeros((R, CHANNELS), SUM),)
    for loop in range(LOOPS):
        r = (tl.program_id(0) * LOOPS + loop) * R + tl.arange(0, R)
        image, y = (r // H).to(tl.int64), r % H
        inside = (r < B * H)[:, None] & (c < C)[None, :]
        pixels = load_row(
            x, c, image, y + (dy - KH // 2), first, inside, H, W, x_b, x_y, x_x,
            SEGMENT + 2 * (KW // 2), WHOLE, KW // 2, SUM,
        )  # fmt: skip
        grads = load_row(grad, c, image, y, first, inside, H, W, grad_b, grad_y, grad_x, SEGMENT, WHOLE, 0, SUM)
        previous, products = products, ()
        for dx in tl.static_range(KW):
            product = previous[dx]
            for i in tl.static_range(SEGMENT):
                if not (WHOLE and (i + dx < KW // 2 or i + dx >= SEGMENT + KW // 2)):
                    product += pixels[i + dx] * grads[i]
            products = products + (product,)
        for i in tl.static_range(SEGMENT):
            total += grads[i]
    part = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    for dx in tl.static_range(KW):
        tl.store(out + ((part * KH + dy) * KW + dx) * C + c, tl.sum(products[dx], 0), mask=c < C)
    if dy == 0:
        tl.store(grad_sums + part * C + c, tl.sum(total, 0), mask=c < C)
