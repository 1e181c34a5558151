// Floating point, one number at a time: double on SSE2 (what a compiler emits for C), long double on the x87.
// No library function is called but sqrt, which is an instruction: results are the same bits everywhere.
#include <vector>

#include "benchmark.hpp"

namespace bench {
namespace {

struct Body {
  double x, y, z, vx, vy, vz, mass;
};
constexpr u32 kBodies = 5, kSteps = 8'000;

u64 nbody() {
  Body bodies[kBodies];
  Random random(23);
  const auto number = [&] { return static_cast<double>(random.below(1 << 20)) / (1 << 20) - 0.5; };
  for (Body& b : bodies)
    b = {10 * number(), 10 * number(), 10 * number(), number(), number(), number(), 1 + number()};
  const double dt = 0.001;
  for (u32 step = 0; step < kSteps; ++step) {
    for (u32 i = 0; i < kBodies; ++i)
      for (u32 j = i + 1; j < kBodies; ++j) {
        Body &a = bodies[i], &b = bodies[j];
        const double dx = a.x - b.x, dy = a.y - b.y, dz = a.z - b.z;
        const double square = dx * dx + dy * dy + dz * dz + 0.01;
        const double pull = dt / (square * __builtin_sqrt(square));
        a.vx -= dx * b.mass * pull, a.vy -= dy * b.mass * pull, a.vz -= dz * b.mass * pull;
        b.vx += dx * a.mass * pull, b.vy += dy * a.mass * pull, b.vz += dz * a.mass * pull;
      }
    for (Body& b : bodies) b.x += dt * b.vx, b.y += dt * b.vy, b.z += dt * b.vz;
  }
  u64 sum = 0;
  for (const Body& b : bodies) sum = mix(sum, bits_of(b.x + b.y + b.z));
  return sum;
}

constexpr u32 kSize = 120;

u64 matmul() {
  static std::vector<double> a(kSize * kSize), b(kSize * kSize), c(kSize * kSize);
  Random random(29);
  for (double& x : a) x = random.below(1000) / 7.0;
  for (double& x : b) x = random.below(1000) / 11.0;
  for (u32 i = 0; i < kSize; ++i)
    for (u32 j = 0; j < kSize; ++j) {
      double sum = 0;
      for (u32 k = 0; k < kSize; ++k) sum += a[i * kSize + k] * b[k * kSize + j];
      c[i * kSize + j] = sum;
    }
  u64 sum = 0;
  for (u32 n = 0; n < kSize * kSize; n += 41) sum = mix(sum, bits_of(c[n]));
  return sum;
}

// The logistic map and Newton's square root, in extended precision.
constexpr u32 kIterations = 100'000;

u64 x87() {
  long double x = 0.31L, total = 0;
  for (u32 n = 0; n < kIterations; ++n) {
    x = 3.9L * x * (1 - x);
    long double root = 0.5L + x / 2;
    root = (root + x / root) / 2;
    total += root;
  }
  return bits_of(static_cast<double>(total));
}

constexpr const char* kGroup = "floating";
constexpr Benchmark kAll[] = {
    {"nbody", kGroup, "double: five bodies", "step", kSteps, nbody},
    {"matmul", kGroup, "double: matrices of 120 x 120", "multiplication", u64{kSize} * kSize* kSize, matmul},
    {"x87", kGroup, "long double: logistic map and square roots", "iteration", kIterations, x87},
};

}  // namespace

std::span<const Benchmark> scalar_benchmarks() {
  return kAll;
}

}  // namespace bench
