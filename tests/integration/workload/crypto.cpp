// What `openssl speed` spends its time in: AES with AES-NI in counter mode, GHASH's carry-less
// multiplication, SHA-256 in plain C++, with the SHA instructions and (as OpenSSL's fast paths) with AVX2
// around it. The SHA digests are also held against published test vectors (FIPS 180-4 examples), so that the
// host and the guest cannot be wrong together.
#include <immintrin.h>

#include <array>
#include <cstring>

#include "report.hpp"

namespace workload {
namespace {

constexpr std::array<std::uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
using State = std::array<std::uint32_t, 8>;
constexpr State kInitial = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

std::uint32_t rotate(std::uint32_t v, int n) {
  return v >> n | v << (32 - n);
}

void compress_plain(State& state, const unsigned char* block) {
  std::uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    std::memcpy(&w[i], block + i * 4, 4);
    w[i] = __builtin_bswap32(w[i]);
  }
  for (int i = 16; i < 64; ++i) {
    const std::uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
    const std::uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  State s = state;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t e = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
    const std::uint32_t t = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + kRound[i] + w[i];
    const std::uint32_t a = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
    const std::uint32_t u = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    s = {t + u, s[0], s[1], s[2], s[3] + t, s[4], s[5], s[6]};
  }
  for (std::size_t i = 0; i < 8; ++i) state[i] += s[i];
}

__attribute__((target("sha,sse4.1"))) void compress_sha(State& state, const unsigned char* block) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abcd = _mm_set_epi32(static_cast<int>(state[0]), static_cast<int>(state[1]),
                               static_cast<int>(state[4]), static_cast<int>(state[5]));
  __m128i efgh = _mm_set_epi32(static_cast<int>(state[2]), static_cast<int>(state[3]),
                               static_cast<int>(state[6]), static_cast<int>(state[7]));
  const __m128i abef = abcd;
  const __m128i cdgh = efgh;
  __m128i w[4];
  for (int i = 0; i < 4; ++i) {
    w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + i * 16)), swap);
  }
  for (std::size_t i = 0; i < 16; ++i) {
    const __m128i now = w[i % 4];
    __m128i message = _mm_add_epi32(now, _mm_loadu_si128(reinterpret_cast<const __m128i*>(&kRound[i * 4])));
    efgh = _mm_sha256rnds2_epu32(efgh, abcd, message);
    message = _mm_shuffle_epi32(message, 0x0e);
    abcd = _mm_sha256rnds2_epu32(abcd, efgh, message);
    // w[i+4] from w[i], w[i+1], w[i+2], w[i+3].
    const __m128i mixed = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[(i + 1) % 4]),
                                        _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
    w[i % 4] = _mm_sha256msg2_epu32(mixed, w[(i + 3) % 4]);
  }
  abcd = _mm_add_epi32(abcd, abef);
  efgh = _mm_add_epi32(efgh, cdgh);
  alignas(16) std::uint32_t ab[4], cd[4];
  _mm_store_si128(reinterpret_cast<__m128i*>(ab), abcd);
  _mm_store_si128(reinterpret_cast<__m128i*>(cd), efgh);
  state = {ab[3], ab[2], cd[3], cd[2], ab[1], ab[0], cd[1], cd[0]};
}

std::string sha256(const std::string& text, void (*compress)(State&, const unsigned char*)) {
  std::string padded = text + '\x80';
  padded.resize((padded.size() + 8 + 63) / 64 * 64);
  const std::uint64_t length = __builtin_bswap64(text.size() * 8);
  std::memcpy(padded.data() + padded.size() - 8, &length, 8);
  State state = kInitial;
  for (std::size_t i = 0; i < padded.size(); i += 64) {
    compress(state, reinterpret_cast<const unsigned char*>(padded.data()) + i);
  }
  char hex[65];
  for (std::size_t i = 0; i < 8; ++i) std::snprintf(hex + i * 8, 9, "%08x", state[i]);
  return hex;
}

template <int kRcon>
__attribute__((target("aes,sse2"))) __m128i expand(__m128i key) {
  const __m128i assist = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, kRcon), 0xff);
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
  return _mm_xor_si128(key, assist);
}

/// AES-128 of FIPS 197 appendix C.1's block, then counter mode over 32 KiB; encryption checked by decryption.
__attribute__((target("aes,sse2"))) int aes() {
  __m128i key[11];
  key[0] = _mm_set_epi64x(0x0f0e0d0c0b0a0908, 0x0706050403020100);
  key[1] = expand<0x01>(key[0]), key[2] = expand<0x02>(key[1]), key[3] = expand<0x04>(key[2]);
  key[4] = expand<0x08>(key[3]), key[5] = expand<0x10>(key[4]), key[6] = expand<0x20>(key[5]);
  key[7] = expand<0x40>(key[6]), key[8] = expand<0x80>(key[7]), key[9] = expand<0x1b>(key[8]);
  key[10] = expand<0x36>(key[9]);
  const auto encrypt = [&key](__m128i block) __attribute__((target("aes,sse2"))) {
    block = _mm_xor_si128(block, key[0]);
    for (int i = 1; i < 10; ++i) block = _mm_aesenc_si128(block, key[i]);
    return _mm_aesenclast_si128(block, key[10]);
  };
  const __m128i plain = _mm_set_epi64x(static_cast<long long>(0xffeeddccbbaa9988), 0x7766554433221100);
  __m128i block = encrypt(plain);
  std::uint64_t out[2];
  std::memcpy(out, &block, 16);
  report("crypto.aes128", out[0]);
  const bool right = out[0] == 0x30047b6ad8e0c469 && out[1] == 0x5ac5b47080b7cdd8;
  block = _mm_xor_si128(block, key[10]);
  for (int i = 9; i > 0; --i) block = _mm_aesdec_si128(block, _mm_aesimc_si128(key[i]));
  block = _mm_xor_si128(_mm_aesdeclast_si128(block, key[0]), plain);
  std::memcpy(out, &block, 16);
  std::uint64_t hash = 0;
  for (int i = 0; i < 2048; ++i) {
    block = encrypt(_mm_set_epi64x(i, 42));
    hash = digest(&block, sizeof block, hash);
  }
  report("crypto.aes128ctr", hash);
  if (out[0] != 0 || out[1] != 0 || !right) {
    std::puts("crypto: AES gives the wrong block, or does not decrypt what it encrypted");
    return 1;
  }
  return 0;
}

__attribute__((target("pclmul,sse2"))) std::uint64_t carry_less() {
  Random random(41);
  __m128i sum = _mm_setzero_si128();
  for (int i = 0; i < 5'000; ++i) {
    const __m128i a =
        _mm_set_epi64x(static_cast<long long>(random.next()), static_cast<long long>(random.next()));
    sum = _mm_xor_si128(_mm_clmulepi64_si128(sum, a, 0x00), _mm_clmulepi64_si128(sum, a, 0x11));
    sum = _mm_xor_si128(_mm_clmulepi64_si128(sum, a, 0x01), _mm_xor_si128(a, _mm_srli_si128(sum, 8)));
  }
  return digest(&sum, sizeof sum);
}

bool have_sha() {
  unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;
  asm("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (ebx >> 29 & 1) != 0;
}

int sha() {
  const std::string known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  std::string text;
  for (int i = 0; i < 4000; ++i) text += static_cast<char>('a' + i % 26);
  const std::string plain = sha256(text, compress_plain);
  report("crypto.sha256", plain);
  bool right = sha256("abc", compress_plain) == known;
  if (have_sha()) {
    report("crypto.sha256ni", sha256(text, compress_sha));
    right = right && sha256("abc", compress_sha) == known && sha256(text, compress_sha) == plain;
  } else {
    report_absent("crypto.sha256ni");
  }
  if (!right) std::puts("crypto: SHA-256 of \"abc\" is wrong");
  return right ? 0 : 1;
}

}  // namespace

int crypto() {
  int failed = sha();
  if (__builtin_cpu_supports("aes")) {
    failed |= aes();
  } else {
    report_absent("crypto.aes128");
  }
  if (__builtin_cpu_supports("pclmul")) {
    report("crypto.pclmul", carry_less());
  } else {
    report_absent("crypto.pclmul");
  }
  return failed;
}

}  // namespace workload
