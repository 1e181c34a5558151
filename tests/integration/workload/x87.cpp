// The x87 unit: long double arithmetic with all its 80 bits, its transcendental instructions, rounding and
// precision control, exception flags, and conversions.
#include <cfenv>
#include <cmath>
#include <cstring>
#include <limits>

#include "report.hpp"

namespace workload {
namespace {

std::uint64_t bits_of(long double value) {
  unsigned char raw[10];
  std::memcpy(raw, &value, sizeof raw);  // the other 6 bytes of the object are padding
  return digest(raw, sizeof raw);
}

std::uint64_t arithmetic() {
  Random random(21);
  volatile long double sum = 1.0L;
  std::uint64_t hash = 0;
  for (int i = 0; i < 2'000; ++i) {
    const auto a = static_cast<long double>(static_cast<std::int64_t>(random.next()));
    const auto b = static_cast<long double>(random.next() | 1) / 3.0L;
    sum = sum * 0.75L + a / b - std::sqrt(b);
    sum = std::fmod(sum, 1e9L) + std::rint(a / 1e12L);
    hash = hash * 31 + bits_of(sum);
  }
  return hash;
}

std::uint64_t transcendental() {
  std::uint64_t hash = 0;
  for (int i = 1; i < 300; ++i) {
    long double x = static_cast<long double>(i) / 64.0L;
    long double r = 0;
    long double s = 0;
    // clang-format off
    asm("fsin"    : "=t"(r) : "0"(x));                          hash = hash * 31 + bits_of(r);
    asm("fcos"    : "=t"(r) : "0"(x));                          hash = hash * 31 + bits_of(r);
    asm("fptan"   : "=t"(r), "=u"(s) : "0"(x));                 hash = hash * 31 + bits_of(s);
    asm("fpatan"  : "=t"(r) : "0"(x), "u"(1.5L) : "st(1)");     hash = hash * 31 + bits_of(r);
    asm("fyl2x"   : "=t"(r) : "0"(x), "u"(2.0L) : "st(1)");     hash = hash * 31 + bits_of(r);
    asm("f2xm1"   : "=t"(r) : "0"(x / 8.0L));                   hash = hash * 31 + bits_of(r);
    asm("fscale"  : "=t"(r) : "0"(x), "u"(5.0L));               hash = hash * 31 + bits_of(r);
    asm("fprem1"  : "=t"(r) : "0"(x * 7.0L), "u"(1.75L));       hash = hash * 31 + bits_of(r);
    // clang-format on
  }
  return hash;
}

std::uint64_t rounding() {
  std::uint64_t hash = 0;
  for (const int mode : {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO}) {
    std::fesetround(mode);
    volatile long double third = 1.0L;
    third = third / 3.0L;
    volatile double narrowed = static_cast<double>(third);
    hash = hash * 31 + bits_of(third) + digest(const_cast<const double*>(&narrowed), sizeof narrowed);
    hash = hash * 31 + static_cast<std::uint64_t>(std::llrint(2.5) + std::llrint(-3.5));
  }
  std::fesetround(FE_TONEAREST);
  // Precision control (SDM vol. 1 §8.1.5.2): 24, 53 and 64 bits of significand.
  for (const unsigned short control : {0x007f, 0x027f, 0x037f}) {
    long double r = 0;
    asm volatile("fldcw %1" : "=t"(r) : "m"(control), "0"(1.0L));
    asm volatile("fdivrp" : "=t"(r) : "0"(3.0L), "u"(1.0L) : "st(1)");
    hash = hash * 31 + bits_of(r);
  }
  return hash;
}

std::uint64_t exceptions() {
  std::uint64_t hash = 0;
  volatile long double zero = 0.0L;
  volatile long double one = 1.0L;
  volatile long double huge = std::numeric_limits<long double>::max();
  volatile long double tiny = std::numeric_limits<long double>::min();
  volatile long double result = 0;
  const auto flags = [&hash] {
    hash = hash * 64 + static_cast<std::uint64_t>(std::fetestexcept(FE_ALL_EXCEPT));
    std::feclearexcept(FE_ALL_EXCEPT);
  };
  std::feclearexcept(FE_ALL_EXCEPT);
  result = one / zero, flags();
  result = zero / zero, flags();
  result = huge * huge, flags();
  result = tiny / huge, flags();
  result = one / 3.0L, flags();
  result = std::sqrt(-one), flags();
  (void)result;
  return hash;
}

// The stack as a stack: overflow, underflow, FXCH, FFREE, tag and status words through FNSTENV.
std::uint64_t stack() {
  struct Environment {
    std::uint32_t control, status, tags, ip, cs_opcode, dp, ds;
  } e{};
  std::uint64_t hash = 0;
  asm volatile(
      "fninit\n fld1\n fldpi\n fldz\n fldl2e\n fldlg2\n fldln2\n fldl2t\n fxch %%st(3)\n ffree %%st(5)\n"
      "fld1\n fld1\n fnstenv %0\n fninit"
      : "=m"(e)::"memory");
  hash = (std::uint64_t{e.status} & 0xffff) << 32 | (e.tags & 0xffff);
  asm volatile("fninit\n fstp %%st(0)\n fnstenv %0\n fninit" : "=m"(e)::"memory");
  return hash * 31 + (e.status & 0xffff) + (e.tags & 0xffff);
}

std::uint64_t decimal() {
  std::uint64_t hash = 0;
  for (const long double value : {0.0L, -1.0L, 123456789012345678.0L, -999999999999999999.0L}) {
    unsigned char packed[10];
    long double back = 0;
    asm volatile("fbstp %0" : "=m"(packed) : "t"(value) : "st");
    asm volatile("fbld %1" : "=t"(back) : "m"(packed));
    hash = digest(packed, sizeof packed, hash + bits_of(back));
  }
  return hash;
}

}  // namespace

int x87() {
  report("x87.arithmetic", arithmetic());
  report("x87.transcendental", transcendental());
  report("x87.rounding", rounding());
  report("x87.exceptions", exceptions());
  report("x87.stack", stack());
  report("x87.decimal", decimal());
  char text[64];
  std::snprintf(text, sizeof text, "%.30Lf", std::exp(1.0L) * std::sin(0.5L) + std::pow(1.1L, 10.0L));
  report("x87.libm", text);
  return 0;
}

}  // namespace workload
