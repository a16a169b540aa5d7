"""Triton kernels of depthwise convolutions: windows of images times banded matrices, on tensor cores.

An image is cut into tiles of the output. Each tile depends on a window of the input, the tile and a margin of half a
kernel. For a channel the convolution is then one matrix product: windows (M, K), each a row of pixels, times a matrix
(K, N) of taps, T[i, o] = the tap from pixel i of the window to pixel o of the tile. All tiles of all images have the
same matrix, which makes M large enough for tensor cores. A small image is its own window. The gradient
of the matrix is windows^T times the output's gradient.

M counts (image, tile); K counts pixels of a window, row by row; N counts pixels of a tile.
"""

# pyright: reportGeneralTypeIssues=false
# (Triton annotates `static_range`, over which its compiler iterates, as something that can't be iterated over.)
import triton
import triton.language as tl

PLAIN = tl.constexpr(0)
GELU = tl.constexpr(1)
GELU_BACKWARD = tl.constexpr(2)
ADD = tl.constexpr(3)
INVERSE_SQRT_2 = tl.constexpr(0.7071067811865476)
INVERSE_SQRT_2_PI = tl.constexpr(0.3989422804014327)


@triton.jit
def gelu(z):
    """The exact GELU: z times the cumulative normal distribution."""
    return 0.5 * z * (1 + tl.erf(z * INVERSE_SQRT_2))


@triton.jit
def gelu_derivative(z):
    """d gelu(z) / dz."""
    return 0.5 * (1 + tl.erf(z * INVERSE_SQRT_2)) + z * INVERSE_SQRT_2_PI * tl.exp(-0.5 * z * z)


@triton.jit
def place(m, first, TILES_Y: tl.constexpr, TILES_X: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Image (relative to `first`), top row and left column of tiles m; divisions by constants are cheap."""
    tiles: tl.constexpr = TILES_Y * TILES_X
    tile = m % tiles
    return m // tiles - first, (tile // TILES_X) * ROWS, (tile % TILES_X) * COLUMNS


@triton.jit
def pixels_inside(
    top, left, k, H, W, inside, PIXELS: tl.constexpr, COLUMNS: tl.constexpr, CLIP_Y: tl.constexpr, CLIP_X: tl.constexpr
):
    """Whether pixels k of areas COLUMNS wide at (top, left) are in the image; CLIP: the area may cross its border."""
    mask = inside[:, None] & (k < PIXELS)[None, :]
    if CLIP_Y:
        y = top[:, None] + (k // COLUMNS)[None, :]
        mask &= (y >= 0) & (y < H)
    if CLIP_X:
        x = left[:, None] + (k % COLUMNS)[None, :]
        mask &= (x >= 0) & (x < W)
    return mask


@triton.jit
def offsets(image, top, left, k, stride, W, COLUMNS: tl.constexpr):
    """Offsets (M, len(k)) from the first image of pixels k of areas COLUMNS wide at (top, left)."""
    return (image * stride + top * W + left)[:, None] + ((k // COLUMNS) * W + k % COLUMNS)[None, :]


@triton.jit
def load_pixels(
    x, image, top, left, k, H, W, stride, inside, PIXELS: tl.constexpr, COLUMNS: tl.constexpr,
    CLIP_Y: tl.constexpr, CLIP_X: tl.constexpr,
):  # fmt: skip
    """Pixels k of areas COLUMNS wide at (top, left), (M, len(k)); zeros outside the image."""
    mask = pixels_inside(top, left, k, H, W, inside, PIXELS, COLUMNS, CLIP_Y, CLIP_X)
    return tl.load(x + offsets(image, top, left, k, stride, W, COLUMNS), mask=mask, other=0.0)


@triton.jit
def load_matrix(
    weight, k, n, KH: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr, WINDOW: tl.constexpr,
    WINDOW_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    """Rows k of the matrix (K, N) of a kernel (KH, KW); FLIP: of the transposed convolution."""
    dy = (k // WINDOW_COLUMNS)[:, None] - (n // COLUMNS)[None, :] + KH // 2 - TOP
    dx = (k % WINDOW_COLUMNS)[:, None] - (n % COLUMNS)[None, :] + KW // 2 - LEFT
    exists = (k < WINDOW)[:, None] & (n < ROWS * COLUMNS)[None, :] & (dy >= 0) & (dy < KH) & (dx >= 0) & (dx < KW)
    tap = dy * KW + dx
    if FLIP:
        tap = KH * KW - 1 - tap
    return tl.load(weight + tap, mask=exists, other=0.0)


@triton.jit
def load_matrices(
    weight, n, KH: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr, WINDOW: tl.constexpr,
    WINDOW_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, FLIP: tl.constexpr, K: tl.constexpr,
    CHUNK: tl.constexpr,
):  # fmt: skip
    """The matrix in chunks of rows."""
    chunks = ()
    for chunk in tl.static_range(K // CHUNK):
        k = chunk * CHUNK + tl.arange(0, CHUNK)
        chunks = chunks + (load_matrix(weight, k, n, KH, KW, TOP, LEFT, WINDOW, WINDOW_COLUMNS, ROWS, COLUMNS, FLIP),)
    return chunks


@triton.jit
def convolve(
    x, weight, bias, other, out, B, C, H, W, LOOPS, x_b, x_c, other_b, other_c, out_b, out_c,
    KH: tl.constexpr, KW: tl.constexpr, TILES_Y: tl.constexpr, TILES_X: tl.constexpr, TOP: tl.constexpr,
    LEFT: tl.constexpr, WINDOW: tl.constexpr, WINDOW_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, CHUNK: tl.constexpr, CLIP_Y: tl.constexpr, CLIP_X: tl.constexpr,
    FLIP: tl.constexpr, BIAS: tl.constexpr, EPILOGUE: tl.constexpr, PRECISION: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """out = epilogue(conv(x) + bias); grid: (parts of M, channels); a program has LOOPS blocks of M tiles."""
    c = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, N)
    matrices = load_matrices(
        weight + c * KH * KW, n, KH, KW, TOP, LEFT, WINDOW, WINDOW_COLUMNS, ROWS, COLUMNS, FLIP, K, CHUNK
    )
    shift = tl.load(bias + c).to(SUM) if BIAS else 0.0
    tiles: tl.constexpr = TILES_Y * TILES_X
    for loop in range(LOOPS):
        start = (tl.program_id(0) * LOOPS + loop) * M
        m = start + tl.arange(0, M)
        first = start // tiles
        image, top, left = place(m, first, TILES_Y, TILES_X, ROWS, COLUMNS)
        inside = m < B * tiles
        base = first.to(tl.int64)
        z = tl.zeros((M, N), SUM)
        for chunk in tl.static_range(K // CHUNK):
            k = chunk * CHUNK + tl.arange(0, CHUNK)
            window = load_pixels(
                x + base * x_b + c * x_c, image, top - TOP, left - LEFT, k, H, W, x_b, inside, WINDOW, WINDOW_COLUMNS,
                CLIP_Y, CLIP_X,
            )  # fmt: skip
            z = tl.dot(window, matrices[chunk], z, input_precision=PRECISION, out_dtype=SUM)
        z += shift
        if EPILOGUE == GELU:
            z = gelu(z)
        if (EPILOGUE == GELU_BACKWARD) | (EPILOGUE == ADD):
            others = load_pixels(
                other + base * other_b + c * other_c, image, top, left, n, H, W, other_b, inside, ROWS * COLUMNS,
                COLUMNS, CLIP_Y, CLIP_X,
            ).to(SUM)  # fmt: skip
            z = gelu_derivative(z) * others if EPILOGUE == GELU_BACKWARD else z + others
        mask = pixels_inside(top, left, n, H, W, inside, ROWS * COLUMNS, COLUMNS, CLIP_Y, CLIP_X)
        entries = out + base * out_b + c * out_c + offsets(image, top, left, n, out_b, W, COLUMNS)
        tl.store(entries, z.to(out.dtype.element_ty), mask=mask)


@triton.jit
def moments(
    x, weight, out, B, C, H, W, LOOPS, x_b, x_c,
    KH: tl.constexpr, KW: tl.constexpr, TILES_Y: tl.constexpr, TILES_X: tl.constexpr, TOP: tl.constexpr,
    LEFT: tl.constexpr, WINDOW: tl.constexpr, WINDOW_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, CHUNK: tl.constexpr, CLIP_Y: tl.constexpr, CLIP_X: tl.constexpr,
    PRECISION: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """out[:, part, c] = sums of conv(x) and of its square; grid: (parts of M, channels)."""
    c = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, N)
    matrices = load_matrices(
        weight + c * KH * KW, n, KH, KW, TOP, LEFT, WINDOW, WINDOW_COLUMNS, ROWS, COLUMNS, False, K, CHUNK
    )
    tiles: tl.constexpr = TILES_Y * TILES_X
    total = tl.zeros((M, N), SUM)
    squares = tl.zeros((M, N), SUM)
    for loop in range(LOOPS):
        start = (tl.program_id(0) * LOOPS + loop) * M
        m = start + tl.arange(0, M)
        first = start // tiles
        image, top, left = place(m, first, TILES_Y, TILES_X, ROWS, COLUMNS)
        inside = m < B * tiles
        z = tl.zeros((M, N), SUM)
        for chunk in tl.static_range(K // CHUNK):
            k = chunk * CHUNK + tl.arange(0, CHUNK)
            window = load_pixels(
                x + first.to(tl.int64) * x_b + c * x_c, image, top - TOP, left - LEFT, k, H, W, x_b, inside,
                WINDOW, WINDOW_COLUMNS, CLIP_Y, CLIP_X,
            )  # fmt: skip
            z = tl.dot(window, matrices[chunk], z, input_precision=PRECISION, out_dtype=SUM)
        z = tl.where(pixels_inside(top, left, n, H, W, inside, ROWS * COLUMNS, COLUMNS, CLIP_Y, CLIP_X), z, 0.0)
        total += z
        squares += z * z
    tl.store(out + tl.program_id(0) * C + c, tl.sum(total))
    tl.store(out + (tl.num_programs(0) + tl.program_id(0)) * C + c, tl.sum(squares))


@triton.jit
def correlate(
    x, grad, out, grad_sums, B, C, H, W, LOOPS, x_b, x_c, grad_b, grad_c,
    KH: tl.constexpr, KW: tl.constexpr, TILES_Y: tl.constexpr, TILES_X: tl.constexpr, TOP: tl.constexpr,
    LEFT: tl.constexpr, WINDOW: tl.constexpr, WINDOW_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, CHUNK: tl.constexpr, CLIP_Y: tl.constexpr, CLIP_X: tl.constexpr,
    PRECISION: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """out[part, c, k, n] = sum over windows of pixel k times the gradient of pixel n.

    grid: (parts of M, channels, chunks of K).
    """
    c = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, N)
    k = tl.program_id(2) * CHUNK + tl.arange(0, CHUNK)
    tiles: tl.constexpr = TILES_Y * TILES_X
    products = tl.zeros((CHUNK, N), SUM)
    total = tl.zeros((M, N), SUM)
    for loop in range(LOOPS):
        start = (tl.program_id(0) * LOOPS + loop) * M
        m = start + tl.arange(0, M)
        first = start // tiles
        image, top, left = place(m, first, TILES_Y, TILES_X, ROWS, COLUMNS)
        inside = m < B * tiles
        base = first.to(tl.int64)
        window = load_pixels(
            x + base * x_b + c * x_c, image, top - TOP, left - LEFT, k, H, W, x_b, inside, WINDOW, WINDOW_COLUMNS,
            CLIP_Y, CLIP_X,
        )  # fmt: skip
        grads = load_pixels(
            grad + base * grad_b + c * grad_c, image, top, left, n, H, W, grad_b, inside, ROWS * COLUMNS, COLUMNS,
            CLIP_Y, CLIP_X,
        )  # fmt: skip
        products = tl.dot(tl.trans(window), grads, products, input_precision=PRECISION, out_dtype=SUM)
        total += grads.to(SUM)
    part = (tl.program_id(0) * tl.num_programs(1) + c) * K * N
    tl.store(out + part + k[:, None] * N + n[None, :], products)
    if tl.program_id(2) == 0:
        tl.store(grad_sums + tl.program_id(0) * tl.num_programs(1) + c, tl.sum(total))


@triton.jit
def gather_taps(
    products, out, PARTS,
    KH: tl.constexpr, KW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr, WINDOW_ROWS: tl.constexpr,
    WINDOW_COLUMNS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
    SUM: tl.constexpr,
):  # fmt: skip
    """out[c, tap] = sum of products[part, c, k, n] over parts and the tap's entries (k, n) of the matrix.

    grid: (taps, channels).
    """
    tap, c, channels = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    n = tl.arange(0, N)
    row = n // COLUMNS + TOP - KH // 2 + tap // KW
    column = n % COLUMNS + LEFT - KW // 2 + tap % KW
    exists = (n < ROWS * COLUMNS) & (row >= 0) & (row < WINDOW_ROWS) & (column >= 0) & (column < WINDOW_COLUMNS)
    entries = products + c.to(tl.int64) * K * N + (row * WINDOW_COLUMNS + column) * N + n
    total = tl.zeros((N,), SUM)
    for part in range(PARTS):
        total += tl.load(entries + part * channels * K * N, mask=exists, other=0.0)
    tl.store(out + c * KH * KW + tap, tl.sum(total))


@triton.jit
def convolve_twice(
    x, key, key_bias, value, value_bias, out, B, H, W, LOOPS, x_b, x_c, out_b, out_c,
    KH: tl.constexpr, KW: tl.constexpr, TILES_Y: tl.constexpr, TILES_X: tl.constexpr,
    OUTER_TOP: tl.constexpr, OUTER_LEFT: tl.constexpr, OUTER: tl.constexpr, OUTER_COLUMNS: tl.constexpr,
    TOP: tl.constexpr, LEFT: tl.constexpr, WINDOW_ROWS: tl.constexpr, WINDOW_COLUMNS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
    OUTER_K: tl.constexpr, CHUNK: tl.constexpr, CLIP_Y: tl.constexpr, CLIP_X: tl.constexpr,
    PRECISION: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """out = conv(gelu(conv(x) + key_bias)) + value_bias; grid: (parts of M, channels).

    Intermediate results, a window for each tile, stay on the chip, like the scores in FlashAttention. From the image to
    this window is one matrix product, from the window to the tile another.
    """
    c = tl.program_id(1).to(tl.int64)
    n, k = tl.arange(0, N), tl.arange(0, K)
    window: tl.constexpr = WINDOW_ROWS * WINDOW_COLUMNS
    keys = load_matrices(
        key + c * KH * KW, k, KH, KW, OUTER_TOP, OUTER_LEFT, OUTER, OUTER_COLUMNS, WINDOW_ROWS, WINDOW_COLUMNS, False,
        OUTER_K, CHUNK,
    )  # fmt: skip
    values = load_matrix(value + c * KH * KW, k, n, KH, KW, TOP, LEFT, window, WINDOW_COLUMNS, ROWS, COLUMNS, False)
    key_shift, value_shift = tl.load(key_bias + c).to(SUM), tl.load(value_bias + c).to(SUM)
    tiles: tl.constexpr = TILES_Y * TILES_X
    for loop in range(LOOPS):
        start = (tl.program_id(0) * LOOPS + loop) * M
        m = start + tl.arange(0, M)
        first = start // tiles
        image, top, left = place(m, first, TILES_Y, TILES_X, ROWS, COLUMNS)
        inside = m < B * tiles
        base = first.to(tl.int64)
        scores = tl.zeros((M, K), SUM)
        for chunk in tl.static_range(OUTER_K // CHUNK):
            pixels = load_pixels(
                x + base * x_b + c * x_c, image, top - TOP - OUTER_TOP, left - LEFT - OUTER_LEFT,
                chunk * CHUNK + tl.arange(0, CHUNK), H, W, x_b, inside, OUTER, OUTER_COLUMNS, CLIP_Y, CLIP_X,
            )  # fmt: skip
            scores = tl.dot(pixels, keys[chunk], scores, input_precision=PRECISION, out_dtype=SUM)
        real = pixels_inside(top - TOP, left - LEFT, k, H, W, inside, window, WINDOW_COLUMNS, CLIP_Y, CLIP_X)
        weights = tl.where(real, gelu(scores + key_shift), 0.0).to(x.dtype.element_ty)
        answers = tl.dot(weights, values, out_dtype=SUM, input_precision=PRECISION) + value_shift
        mask = pixels_inside(top, left, n, H, W, inside, ROWS * COLUMNS, COLUMNS, CLIP_Y, CLIP_X)
        entries = out + base * out_b + c * out_c + offsets(image, top, left, n, out_b, W, COLUMNS)
        tl.store(entries, answers.to(out.dtype.element_ty), mask=mask)
