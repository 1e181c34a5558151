// Integer code in user mode: loads, stores, arithmetic and conditional jumps, in the mixtures of five common
// tasks.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "benchmark.hpp"

namespace bench {
namespace {

// Primes below 2 * kSieve, odd numbers only.
constexpr u32 kSieve = 400'000;

u64 sieve() {
  static std::vector<u8> composite(kSieve);
  std::fill(composite.begin(), composite.end(), 0);
  u64 primes = 1;
  for (u32 i = 1; i < kSieve; ++i) {
    if (composite[i] != 0) continue;
    const u32 prime = 2 * i + 1;
    ++primes;
    for (u64 n = (u64{prime} * prime - 1) / 2; n < kSieve; n += prime) composite[n] = 1;
  }
  return primes;
}

// Text of a few words in random order, the frequent ones first, with numbers between them.
constexpr u32 kText = 128 << 10;

const std::vector<u8>& text() {
  static const std::vector<u8> made = [] {
    static const char* const kWords[] = {"guest ", "host ",        "page ", "unit ",     "table ", "the ",
                                         "of ",    "translation ", "is ",   "a ",        "and ",   "when ",
                                         "cache ", "to ",          "in ",   "interrupt "};
    std::vector<u8> text;
    Random random(13);
    while (text.size() < kText) {
      const char* word = kWords[random.below(16) & random.below(16)];
      text.insert(text.end(), word, word + std::strlen(word));
      if (random.below(8) == 0) text.push_back(static_cast<u8>('0' + random.below(10)));
    }
    text.resize(kText);
    return text;
  }();
  return made;
}

// Counts words: FNV-1a over their bytes, open addressing with linear probing.
constexpr u32 kSlots = 1 << 12;

u64 hash() {
  static std::vector<u32> hashes(kSlots), counts(kSlots);
  std::fill(hashes.begin(), hashes.end(), 0);
  std::fill(counts.begin(), counts.end(), 0);
  u32 value = 2166136261u;
  for (const u8 byte : text()) {
    if (byte != ' ') {
      value = (value ^ byte) * 16777619u;
      continue;
    }
    u32 slot = value & (kSlots - 1);
    while (hashes[slot] != 0 && hashes[slot] != value) slot = (slot + 1) & (kSlots - 1);
    hashes[slot] = value;
    ++counts[slot];
    value = 2166136261u;
  }
  u64 sum = 0;
  for (u32 n = 0; n < kSlots; ++n) sum = mix(sum, hashes[n] ^ counts[n]);
  return sum;
}

constexpr u32 kSorted = 60'000;

u64 sort() {
  static std::vector<u32> numbers(kSorted);
  Random random(11);
  for (u32& number : numbers) number = static_cast<u32>(random.next());
  std::sort(numbers.begin(), numbers.end());
  u64 sum = 0;
  for (u32 n = 0; n < kSorted; n += 97) sum = mix(sum, numbers[n]);
  return sum;
}

// LZ77 with one hash table of three-byte prefixes: a token is a literal (0, byte) or a copy (length,
// distance).
constexpr u32 kLongest = 255, kShortest = 4;

u32 squeeze(const std::vector<u8>& from, std::vector<u8>& packed) {
  static std::vector<u32> last(1 << 13);
  std::fill(last.begin(), last.end(), ~0u);
  u32 out = 0;
  for (u32 at = 0; at < kText;) {
    u32 length = 0, distance = 0;
    if (at + kShortest <= kText) {
      const u32 prefix = from[at] | from[at + 1] << 8 | from[at + 2] << 16;
      u32& seen = last[prefix * 2654435761u >> 19];
      distance = at - seen;
      if (seen != ~0u && distance < 65536)
        while (length < kLongest && at + length < kText && from[at + length] == from[seen + length]) ++length;
      seen = at;
    }
    if (length >= kShortest) {
      packed[out++] = static_cast<u8>(length);
      packed[out++] = static_cast<u8>(distance);
      packed[out++] = static_cast<u8>(distance >> 8);
      at += length;
    } else {
      packed[out++] = 0;
      packed[out++] = from[at++];
    }
  }
  return out;
}

u32 expand(const std::vector<u8>& packed, u32 size, std::vector<u8>& to) {
  u32 out = 0;
  for (u32 at = 0; at < size;) {
    const u32 length = packed[at++];
    if (length == 0) {
      to[out++] = packed[at++];
      continue;
    }
    const u32 distance = packed[at] | packed[at + 1] << 8;
    at += 2;
    for (u32 n = 0; n < length; ++n, ++out) to[out] = to[out - distance];
  }
  return out;
}

u64 compress() {
  static std::vector<u8> packed(2 * kText + 3), again(kText);
  const u32 size = squeeze(text(), packed);
  if (expand(packed, size, again) != kText || again != text()) fail("compress: the text did not come back");
  u64 sum = size;
  for (u32 n = 0; n < size; n += 31) sum = mix(sum, packed[n]);
  return sum;
}

// An unbalanced binary search tree, one malloc for each node.
struct Node {
  u32 key, count;
  Node *left, *right;
};
constexpr u32 kNodes = 12'000;

void release(Node* node) {
  while (node != nullptr) {
    release(node->left);
    Node* right = node->right;
    std::free(node);
    node = right;
  }
}

u64 tree() {
  Node* root = nullptr;
  Random random(17);
  u64 sum = 0;
  for (u32 n = 0; n < 2 * kNodes; ++n) {
    const u32 key = random.below(kNodes);
    Node** link = &root;
    u32 depth = 0;
    for (; *link != nullptr && (*link)->key != key; ++depth)
      link = key < (*link)->key ? &(*link)->left : &(*link)->right;
    if (*link == nullptr) {
      *link = static_cast<Node*>(std::malloc(sizeof(Node)));
      if (*link == nullptr) fail("tree: out of memory");
      **link = {key, 0, nullptr, nullptr};
    }
    ++(*link)->count;
    sum = mix(sum, depth);
  }
  release(root);
  return sum;
}

constexpr const char* kGroup = "integer";
constexpr Benchmark kAll[] = {
    {"sieve", kGroup, "primes below 800,000", "number", kSieve, sieve},
    {"hash", kGroup, "words counted in a hash table", "byte", kText, hash},
    {"sort", kGroup, "std::sort of random numbers", "number", kSorted, sort},
    {"compress", kGroup, "LZ77 of 128 KiB of text, and back", "byte", kText, compress},
    {"tree", kGroup, "binary search tree, a malloc for each node", "node", 2 * kNodes, tree},
};

}  // namespace

std::span<const Benchmark> integer_benchmarks() {
  return kAll;
}

}  // namespace bench
