#include "cli/disk_option.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "cli/suggest.hpp"

namespace vellum::cli {
namespace {

using Apply = Result<> (*)(DiskConfig& config, const std::string& value);

struct Key {
  std::string_view name;
  std::vector<std::string> choices;  ///< the only values there are; empty: apply() judges
  std::string_view alone;            ///< the value of the key without one; empty: it needs one
  Apply apply;
};

template <class T>
struct Named {
  std::string_view name;
  T value;
};

constexpr std::array kCaches = {
    Named<DiskCache>{"writeback", DiskCache::kWriteback}, Named<DiskCache>{"none", DiskCache::kNone},
    Named<DiskCache>{"writethrough", DiskCache::kWritethrough},
    Named<DiskCache>{"directsync", DiskCache::kDirectsync}, Named<DiskCache>{"unsafe", DiskCache::kUnsafe}};
constexpr std::array kAios = {Named<DiskAio>{"auto", DiskAio::kAuto},
                              Named<DiskAio>{"io_uring", DiskAio::kUring},
                              Named<DiskAio>{"threads", DiskAio::kThreads}};

template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& row : table) names.emplace_back(row.name);
  return names;
}
// `name` is one of the table's.
template <class Table>
auto value_of(const Table& table, std::string_view name) {
  return std::ranges::find(table, name, [](const auto& row) { return row.name; })->value;
}

std::vector<Key> make_keys() {
  using Config = DiskConfig&;
  using Text = const std::string&;
  return {
      {"format", {"raw", "qcow2"}, "", [](Config c, Text v) -> Result<> { return c.format = v, Result<>(); }},
      {"readonly",
       {"on", "off"},
       "on",
       [](Config c, Text v) -> Result<> { return c.read_only = v == "on", Result<>(); }},
      {"bus",
       {"virtio", "ide"},
       "",
       [](Config c, Text v) -> Result<> { return c.ide = v == "ide", Result<>(); }},
      {"overlay",
       {},
       "",
       [](Config c, Text v) -> Result<> {
         if (v.empty()) return fail(ErrorCode::kInvalidArgument, "overlay '': it is tmp or a file");
         return c.overlay = v, Result<>();
       }},
      {"cache", names_of(kCaches), "",
       [](Config c, Text v) -> Result<> { return c.cache = value_of(kCaches, v), Result<>(); }},
      {"aio", names_of(kAios), "",
       [](Config c, Text v) -> Result<> { return c.aio = value_of(kAios, v), Result<>(); }},
      {"serial",
       {},
       "",
       [](Config c, Text v) -> Result<> {
         if (v.empty() || v.size() > kMaxDiskSerial)
           return fail(ErrorCode::kInvalidArgument, "serial '{}': it has 1 to {} bytes", v, kMaxDiskSerial);
         return c.serial = v, Result<>();
       }},
  };
}

// At commas that stand alone; two are one comma of the text.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool comma = text[i] == ',';
    const bool twice = comma && i + 1 < text.size() && text[i + 1] == ',';
    if (comma && !twice) {
      words.emplace_back();
      continue;
    }
    words.back() += text[i];
    if (twice) ++i;
  }
  return words;
}

Result<> apply_word(const std::vector<Key>& keys, DiskConfig& config, const std::string& word) {
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const auto key = std::ranges::find(keys, name, &Key::name);
  if (key == keys.end()) {
    const auto names = names_of(keys);
    const auto meant = suggest(name, names);
    return fail(ErrorCode::kInvalidArgument,
                "'{}': unknown{}; after the file come {} (a comma in the file's name is written twice)", name,
                meant ? fmt::format("; did you mean '{}'?", *meant) : "", fmt::join(names, ", "));
  }
  if (equals == std::string::npos && key->alone.empty())
    return fail(ErrorCode::kInvalidArgument, "'{}': it needs a value, as in {}={}", name, name,
                key->choices.empty() ? "TEXT" : key->choices.front());
  const std::string value = equals == std::string::npos ? std::string(key->alone) : word.substr(equals + 1);
  if (!key->choices.empty() && std::ranges::find(key->choices, value) == key->choices.end())
    return fail(ErrorCode::kInvalidArgument, "{} '{}': unknown; it is one of {}", name, value,
                fmt::join(key->choices, ", "));
  return key->apply(config, value);
}

Result<DiskConfig> parse(const std::vector<Key>& keys, const std::string& text) {
  const std::vector<std::string> words = split(text);
  DiskConfig config;
  config.file = words.front();
  if (config.file.empty())
    return fail(ErrorCode::kInvalidArgument, "'{}': it begins with a file's name", text);
  for (std::size_t i = 1; i < words.size(); ++i) VELLUM_TRY(apply_word(keys, config, words[i]));
  if (config.read_only && !config.overlay.empty())
    return fail(ErrorCode::kInvalidArgument, "'{}': readonly and overlay exclude each other", text);
  return config;
}

}  // namespace

Result<DiskConfig> parse_disk(const std::string& text) {
  static const std::vector<Key> keys = make_keys();
  return parse(keys, text);
}

Result<DiskConfig> parse_floppy(const std::string& text) {
  static const std::vector<Key> keys = [] {
    std::vector<Key> all = make_keys();
    std::erase_if(all, [](const Key& key) { return key.name == "bus" || key.name == "serial"; });
    return all;
  }();
  VELLUM_TRY_ASSIGN(config, parse(keys, text));
  if (config.format.empty()) config.format = "raw";
  return config;
}

}  // namespace vellum::cli
