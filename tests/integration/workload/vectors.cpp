// SSE to AVX2 with FMA and F16C: lanes, shuffles, gathers, masks, conversions, rounding modes and MXCSR
// flags, on aligned and misaligned data.
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "report.hpp"

namespace workload {
namespace {

struct alignas(32) Data {
  unsigned char bytes[4096 + 64];
  explicit Data(std::uint64_t seed) {
    Random random(seed);
    for (std::size_t i = 0; i + 8 <= sizeof bytes; i += 8) {
      const std::uint64_t v = random.next();
      std::memcpy(bytes + i, &v, 8);
    }
  }
  float* floats() { return reinterpret_cast<float*>(bytes); }
};

std::uint64_t sse2() {
  Data data(31);
  __m128i sum = _mm_setzero_si128();
  for (int i = 0; i < 4096; i += 5) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data.bytes + i));
    const __m128i b = _mm_load_si128(reinterpret_cast<const __m128i*>(data.bytes + (i & ~15)));
    sum = _mm_add_epi32(sum, _mm_madd_epi16(a, b));
    sum = _mm_xor_si128(sum, _mm_sad_epu8(a, b));
    sum = _mm_add_epi8(_mm_shuffle_epi32(sum, 0x39), _mm_packs_epi32(a, b));
    sum = _mm_sub_epi64(sum, _mm_mul_epu32(a, b));
    sum = _mm_or_si128(_mm_srli_epi64(sum, 7), _mm_slli_epi64(sum, 57));
  }
  std::uint64_t out[2];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), sum);
  return out[0] ^ out[1];
}

__attribute__((target("ssse3,sse4.1,sse4.2"))) std::uint64_t sse4() {
  Data data(32);
  __m128i sum = _mm_setzero_si128();
  std::uint64_t hash = 0;
  for (int i = 0; i < 4096; i += 7) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data.bytes + i));
    sum = _mm_xor_si128(sum, _mm_shuffle_epi8(a, sum));
    sum = _mm_add_epi32(sum, _mm_mullo_epi32(a, _mm_alignr_epi8(a, sum, 5)));
    sum = _mm_blendv_epi8(sum, _mm_minpos_epu16(a), _mm_cmpgt_epi64(a, sum));
    sum = _mm_add_epi16(sum, _mm_mpsadbw_epu8(a, sum, 3));
#ifdef __x86_64__
    hash = _mm_crc32_u64(hash, static_cast<std::uint64_t>(_mm_extract_epi64(sum, 1)));
#else
    hash = _mm_crc32_u32(static_cast<unsigned>(hash), static_cast<unsigned>(_mm_extract_epi32(sum, 2)));
#endif
    hash += static_cast<std::uint64_t>(_mm_cmpistri(a, sum, 0x0c)) +
            static_cast<std::uint64_t>(_mm_testz_si128(a, sum));
  }
  return hash;
}

__attribute__((target("avx2"))) std::uint64_t avx2() {
  Data data(33);
  __m256i sum = _mm256_setzero_si256();
  for (int i = 0; i < 4096; i += 9) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data.bytes + i));
    const __m256i index = _mm256_and_si256(a, _mm256_set1_epi32(0x3ff));
    sum = _mm256_add_epi64(sum, _mm256_i32gather_epi32(reinterpret_cast<const int*>(data.bytes), index, 4));
    sum = _mm256_permutevar8x32_epi32(sum, a);
    sum = _mm256_xor_si256(sum, _mm256_shuffle_epi8(a, sum));
    sum = _mm256_add_epi32(sum, _mm256_sllv_epi32(a, _mm256_and_si256(sum, _mm256_set1_epi32(31))));
    sum = _mm256_sub_epi16(sum, _mm256_maddubs_epi16(a, sum));
    _mm256_maskstore_epi32(reinterpret_cast<int*>(data.bytes), sum, a);
    sum = _mm256_inserti128_si256(sum, _mm256_extracti128_si256(a, 1), 0);
  }
  return digest(&sum, sizeof sum, static_cast<unsigned>(_mm256_movemask_epi8(sum)));
}

__attribute__((target("avx2,fma"))) std::uint64_t fma() {
  Random random(34);
  alignas(32) float a[8], b[8];
  __m256 sum = _mm256_set1_ps(0.5f);
  __m256d wide = _mm256_set1_pd(0.25);
  for (int i = 0; i < 2'000; ++i) {
    for (int j = 0; j < 8; ++j) {
      a[j] = static_cast<float>(static_cast<std::int32_t>(random.next())) * 0x1p-31f;
      b[j] = static_cast<float>(static_cast<std::int32_t>(random.next())) * 0x1p-31f;
    }
    sum = _mm256_fmadd_ps(_mm256_load_ps(a), _mm256_load_ps(b), sum);
    sum = _mm256_fnmsub_ps(sum, _mm256_set1_ps(0.5f), _mm256_load_ps(b));
    wide = _mm256_fmaddsub_pd(wide, _mm256_set1_pd(0.9), _mm256_cvtps_pd(_mm256_castps256_ps128(sum)));
    sum = _mm256_round_ps(_mm256_mul_ps(sum, _mm256_set1_ps(1024.f)), _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    sum = _mm256_div_ps(sum, _mm256_set1_ps(1027.f));
  }
  return digest(&sum, sizeof sum, digest(&wide, sizeof wide));
}

__attribute__((target("avx,f16c"))) std::uint64_t halves() {
  std::uint64_t hash = 0;
  for (unsigned i = 0; i < 65536; i += 8 * 37) {
    alignas(16) std::uint16_t in[8];
    for (unsigned j = 0; j < 8; ++j) in[j] = static_cast<std::uint16_t>(i + j * 37);
    const __m256 wide = _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(in)));
    const __m128i back =
        _mm256_cvtps_ph(_mm256_mul_ps(wide, _mm256_set1_ps(1.0001f)), _MM_FROUND_TO_NEAREST_INT);
    hash = digest(&back, sizeof back, hash);
  }
  return hash;
}

/// MXCSR: rounding control, flush to zero, denormals are zero, and the sticky exception flags.
std::uint64_t control() {
  std::uint64_t hash = 0;
  const unsigned saved = _mm_getcsr();
  for (const unsigned mode : {0x1f80u, 0x3f80u, 0x5f80u, 0x7f80u, 0x9fc0u}) {
    _mm_setcsr(mode);
    volatile float a = 1.0f, b = 3.0f, tiny = 1e-40f;
    volatile float quotient = a / b;
    volatile float small = tiny * 0.5f;
    volatile double d = 1.0;
    d = d / 3.0 + static_cast<double>(quotient) + static_cast<double>(small);
    hash = hash * 31 + digest(const_cast<const double*>(&d), sizeof d) +
           static_cast<std::uint64_t>(_mm_getcsr());
    hash = hash * 31 + static_cast<std::uint64_t>(_mm_cvtsd_si32(_mm_set_sd(d * 1e6)));
  }
  _mm_setcsr(saved);
  return hash;
}

std::uint64_t mmx() {
  Random random(35);
  std::uint64_t hash = 0;
  for (int i = 0; i < 500; ++i) {
    std::uint64_t a = random.next();
    const std::uint64_t b = random.next();
    asm("movq %1, %%mm0\n movq %2, %%mm1\n paddusb %%mm1, %%mm0\n pmaddwd %%mm1, %%mm0\n packuswb %%mm1, "
        "%%mm0\n"
        "pshufw $0x1b, %%mm0, %%mm2\n psubsw %%mm2, %%mm1\n pxor %%mm1, %%mm0\n movq %%mm0, %0\n emms"
        : "=m"(a)
        : "m"(a), "m"(b)
        : "mm0", "mm1", "mm2");
    hash = hash * 31 + a;
  }
  return hash;
}

std::uint64_t scalar_math() {
  double sum = 0;
  for (int i = 1; i < 500; ++i) sum += std::sin(i * 0.37) * std::exp(-i * 0.01) + std::log(i) / std::cbrt(i);
  return digest(&sum, sizeof sum);
}

}  // namespace

int vectors() {
  const auto when = [](bool have, const char* name, std::uint64_t (*run)()) {
    if (have) {
      report(name, run());
    } else {
      report_absent(name);
    }
  };
  report("vectors.mmx", mmx());
  report("vectors.sse2", sse2());
  report("vectors.mxcsr", control());
  when(__builtin_cpu_supports("sse4.2"), "vectors.sse4", sse4);
  when(__builtin_cpu_supports("avx2"), "vectors.avx2", avx2);
  when(__builtin_cpu_supports("fma"), "vectors.fma", fma);
  when(__builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c"), "vectors.f16c", halves);
  report("vectors.libm", scalar_math());
  return 0;
}

}  // namespace workload
