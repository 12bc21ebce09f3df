// What stands between two matrix products, in one pass over memory each. kernels/native.py compiles it, fused.py
// explains it.
//
// Numbers come as float or bfloat16 (a flag says which) and are computed with as float, as many at a time as the
// machine's registers hold (vectors.h). Rows are shared out among threads in the order they
// lie in, so that the same number of threads gives the same sums.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vectors.h"

#ifdef THREADS
extern "C" {
void GOMP_parallel(void (*)(void*), void*, unsigned, unsigned);
int omp_get_thread_num();
int omp_get_num_threads();
}
#endif

namespace {

template <int64_t SIZE>
struct Block {
    char bytes[SIZE];
};

// Calls body(i) for so many i, shared out among the threads that PyTorch uses too. Asked for by their own name: with
// pragmas, Clang would bring a second library of threads, and the two would wait for each other.
template <typename Body>
void in_threads(int64_t count, int threads, Body body) {
    auto work = [&](int64_t part, int64_t parts) {
        Body own = body;  // which no store through a pointer can change
        int64_t end = count * (part + 1) / parts;
        for (int64_t i = count * part / parts; i < end; i++) own(i);
    };
#ifdef THREADS
    using Work = decltype(work);
    auto go = [](void* work) { (*static_cast<Work*>(work))(omp_get_thread_num(), omp_get_num_threads()); };
    if (threads > 1) return GOMP_parallel(go, &work, threads, 0);
#endif
    work(0, 1);
}

constexpr int64_t CHUNK = 256;  // rows whose slopes are summed before they join the sum of all: fewer roundings

// Where a row goes: to its own place, or, if rows are the four phases (upper and lower, left and right) of each pixel
// of a map so many pixels wide, to where its pixel is in the map of twice the size.
inline int64_t place(int64_t row, int64_t doubling) {
    if (!doubling) return row;
    int64_t pixel = row / 4, line = pixel / doubling, lower = row / 2 % 2;
    return ((2 * line + lower) * doubling + pixel % doubling) * 2 + row % 2;
}

// So many rows at once that they stay in the nearest cache: what one row waits for, others fill.
inline int64_t together(int64_t width) { return width < 256 ? 4096 / width : 16; }

template <bool centred, typename T>
void norm_silu(const T* x, const float* scale, const float* offset, T* y, float* stats, int64_t rows, int64_t width,
               int64_t doubling, float epsilon, int threads) {
    int64_t group = together(width);
    in_threads((rows + group - 1) / group, threads, [=](int64_t part) {
        int64_t start = part * group, end = smaller(start + group, rows);
        for (int64_t row = start; row < end; row++) {
            const T* in = x + row * width;
            float mean = 0;
            if (centred) {
                Floats level = {};
                each(width, [&](int64_t i, auto left) { level += load(in + i, left); });
                mean = sum(level) / float(width);
            }
            Floats squares = {};
            each(width, [&](int64_t i, auto left) {
                Floats away = load(in + i, left) - mean;
                if (centred) away = inside(left, away);  // the zeros behind a row are not of it
                squares += away * away;
            });
            stats[2 * row] = mean;
            stats[2 * row + 1] = 1.0f / std::sqrt(sum(squares) / float(width) + epsilon);
        }
        for (int64_t row = start; row < end; row++) {
            const T* in = x + row * width;
            T* out = y + place(row, doubling) * width;
            float mean = stats[2 * row], inverse = stats[2 * row + 1];
            each(width, [&](int64_t i, auto left) {
                Floats n = (load(in + i, left) - mean) * inverse * load(scale + i, left);
                if (centred) n += load(offset + i, left);
                store(out + i, n * sigmoid(n), left);
            });
        }
    });
}

// sums: per thread the slopes of scale and offset, and room for three rows; zeros at first.
template <bool centred, typename T>
void norm_silu_back(const T* x, const float* scale, const float* offset, const float* stats, const T* slope, T* out,
                    float* sums, int64_t rows, int64_t width, int64_t doubling, int threads) {
    in_threads(threads, threads, [=](int64_t thread) {
        float* total = sums + 5 * width * thread;
        float *scales = total + 2 * width, *offsets = scales + width, *inner = offsets + width;
        int64_t end = rows * (thread + 1) / threads;
        for (int64_t start = rows * thread / threads; start < end; start += CHUNK) {
            std::memset(scales, 0, 2 * width * sizeof(float));
            for (int64_t row = start; row < end && row < start + CHUNK; row++) {
                const T *in = x + row * width, *wanted = slope + place(row, doubling) * width;
                T* back = out + row * width;
                float mean = stats[2 * row], inverse = stats[2 * row + 1];
                Floats along = {}, level = {};
                each(width, [&](int64_t i, auto left) {
                    Floats normed = (load(in + i, left) - mean) * inverse, slant = load(scale + i, left);
                    if (centred) normed = inside(left, normed);  // which may be infinite behind a row of huge numbers
                    Floats n = normed * slant;
                    if (centred) n += load(offset + i, left);
                    Floats open = sigmoid(n);
                    Floats d = load(wanted + i, left) * open * (1.0f + n * (1.0f - open));
                    store(scales + i, load(scales + i, left) + d * normed, left);
                    if (centred) store(offsets + i, load(offsets + i, left) + d, left);
                    d *= slant;
                    store(inner + i, d, left);
                    along += d * normed;
                    if (centred) level += d;
                });
                float lengthwise = sum(along) / float(width), lift = centred ? sum(level) / float(width) : 0.0f;
                each(width, [&](int64_t i, auto left) {
                    Floats normed = (load(in + i, left) - mean) * inverse;
                    store(back + i, (load(inner + i, left) - lift - normed * lengthwise) * inverse, left);
                });
            }
            for (int64_t i = 0; i < 2 * width; i++) total[i] += scales[i];
        }
    });
}

// gates: (rows, 3, width), reset, candidate, update; what was: (rows, width).
template <typename T>
void gru(const T* gates, const T* before, T* after, int64_t rows, int64_t width, int threads) {
    in_threads(rows, threads, [=](int64_t row) {
        const T *reset = gates + 3 * row * width, *candidate = reset + width, *update = candidate + width;
        const T* old = before + row * width;
        T* out = after + row * width;
        each(width, [&](int64_t i, auto left) {
            Floats fresh = tanh(sigmoid(load(reset + i, left)) * load(candidate + i, left));
            Floats kept = load(old + i, left);
            store(out + i, kept + sigmoid(load(update + i, left) - 1.0f) * (fresh - kept), left);
        });
    });
}

template <typename T>
void gru_back(const T* gates, const T* before, const T* slope, T* gates_back, T* before_back, int64_t rows,
              int64_t width, int threads) {
    in_threads(rows, threads, [=](int64_t row) {
        int64_t first = 3 * row * width;
        const T *reset = gates + first, *candidate = reset + width, *update = candidate + width;
        T *reset_back = gates_back + first, *candidate_back = reset_back + width, *update_back = candidate_back + width;
        const T *old = before + row * width, *wanted = slope + row * width;
        T* out = before_back + row * width;
        each(width, [&](int64_t i, auto left) {
            Floats d = load(wanted + i, left), said = load(candidate + i, left);
            Floats r = sigmoid(load(reset + i, left)), u = sigmoid(load(update + i, left) - 1.0f);
            Floats fresh = tanh(r * said), inside = d * u * (1.0f - fresh * fresh);
            store(reset_back + i, inside * said * r * (1.0f - r), left);
            store(candidate_back + i, inside * r, left);
            store(update_back + i, d * (fresh - load(old + i, left)) * u * (1.0f - u), left);
            store(out + i, d * (1.0f - u), left);
        });
    });
}

constexpr int64_t MOST_CLASSES = 1024;  // fused.py sends no more

// One-hot draws from softmax(logits), a share of it uniform, by inverting the cumulative distribution.
template <typename T>
void draw(const T* logits, const float* noise, T* sample, int64_t rows, int64_t classes, float share, int threads) {
    in_threads(rows, threads, [=](int64_t row) {
        const T* in = logits + row * classes;
        Floats until[MOST_CLASSES / LANES], top = Floats{} - INFINITY;  // first the logits, then sums of powers
        each(classes, [&](int64_t i, auto left) {
            until[i / LANES] = load(in + i, left) + beyond(left, -INFINITY);
            top = until[i / LANES] > top ? until[i / LANES] : top;
        });
        float highest = largest(top), all = 0;
        each(classes, [&](int64_t i, auto) {
            until[i / LANES] = all + running(power(until[i / LANES] - highest));
            all = until[i / LANES][LANES - 1];
        });
        float scale = (1.0f - share) / all, least = share / float(classes);
        Floats passed = {};
        each(classes, [&](int64_t i, auto left) {
            Floats uniform = (__builtin_convertvector(LANE, Floats) + float(i + 1)) * least;
            Floats level = until[i / LANES] * scale + uniform + beyond(left, INFINITY);
            passed += level <= noise[row] ? 1.0f + Floats{} : Floats{};
        });
        int64_t drawn = int64_t(sum(passed));
        if (drawn >= classes) drawn = classes - 1;  // where rounding leaves the last sum below the noise
        T* out = sample + row * classes;
        std::memset(out, 0, classes * sizeof(T));
        store(out + drawn, Floats{} + 1.0f, 1);
    });
}

// A row is (width, 2, 2, channels), phases of two rows of pixels, or (2, width, 2, channels), those rows themselves.
template <typename Unit>
void interleave(const Unit* x, Unit* y, int64_t rows, int64_t width, int64_t pair, bool back, int threads) {
    in_threads(rows, threads, [=](int64_t row) {
        const Unit* in = x + 2 * row * width * pair;
        Unit* out = y + 2 * row * width * pair;
        for (int64_t phase = 0; phase < 2; phase++)
            for (int64_t place = 0; place < width; place++) {
                int64_t phased = (2 * place + phase) * pair, spread = (phase * width + place) * pair;
                const Unit* from = in + (back ? spread : phased);
                Unit* to = out + (back ? phased : spread);
                for (int64_t i = 0; i < pair; i++) to[i] = from[i];
            }
    });
}

template <typename T>
const T* as(const void* pointer) { return static_cast<const T*>(pointer); }
template <typename T>
T* as(void* pointer) { return static_cast<T*>(pointer); }

}  // namespace

#define BOTH(...)           \
    if (brief) {            \
        using T = bfloat16; \
        __VA_ARGS__;        \
    } else {                \
        using T = float;    \
        __VA_ARGS__;        \
    }

extern "C" {

void dynalang_norm_silu(int brief, const void* x, const float* scale, const float* offset, void* y, float* stats,
                        int64_t rows, int64_t width, int64_t doubling, float epsilon, int threads) {
    BOTH(if (offset) norm_silu<true>(as<T>(x), scale, offset, as<T>(y), stats, rows, width, doubling, epsilon, threads);
         else norm_silu<false>(as<T>(x), scale, offset, as<T>(y), stats, rows, width, doubling, epsilon, threads))
}

void dynalang_norm_silu_back(int brief, const void* x, const float* scale, const float* offset, const float* stats,
                             const void* slope, void* out, float* sums, int64_t rows, int64_t width, int64_t doubling,
                             int threads) {
    BOTH(if (offset) norm_silu_back<true>(as<T>(x), scale, offset, stats, as<T>(slope), as<T>(out), sums, rows, width,
                                          doubling, threads);
         else norm_silu_back<false>(as<T>(x), scale, offset, stats, as<T>(slope), as<T>(out), sums, rows, width,
                                    doubling, threads))
}

void dynalang_gru(int brief, const void* gates, const void* before, void* after, int64_t rows, int64_t width,
                  int threads) {
    BOTH(gru(as<T>(gates), as<T>(before), as<T>(after), rows, width, threads))
}

void dynalang_gru_back(int brief, const void* gates, const void* before, const void* slope, void* gates_back,
                       void* before_back, int64_t rows, int64_t width, int threads) {
    BOTH(gru_back(as<T>(gates), as<T>(before), as<T>(slope), as<T>(gates_back), as<T>(before_back), rows, width,
                  threads))
}

// bytes: of the channels of one pixel.
void dynalang_interleave(int, const void* x, void* y, int64_t rows, int64_t width, int64_t bytes, int64_t back,
                         int threads) {
    auto go = [&](auto unit) {
        using Unit = decltype(unit);
        interleave(as<Unit>(x), as<Unit>(y), rows, width, 2 * bytes / int64_t(sizeof(Unit)), back, threads);
    };
    if (bytes % 32 == 0) go(Block<64>{});
    else if (bytes % 6 == 0) go(Block<12>{});  // red, green and blue
    else go(Block<4>{});
}

void dynalang_draw(int brief, const void* logits, const float* noise, void* sample, int64_t rows, int64_t classes,
                   float share, int threads) {
    BOTH(draw(as<T>(logits), noise, as<T>(sample), rows, classes, share, threads))
}
}
