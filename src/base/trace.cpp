#include "base/trace.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.hpp"

namespace vellum {
namespace {

struct Name {
  std::string_view name;
  TraceKind kind;
};
constexpr Name kNames[] = {{"bt", TraceKind::kUnits},
                           {"exits", TraceKind::kExits},
                           {"mmu", TraceKind::kMmu},
                           {"irq", TraceKind::kIrq}};

class DescriptorSink final : public TraceSink {
 public:
  DescriptorSink(FileDescriptor file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  void write(std::string_view text) override {
    const int fd = file_ ? file_.get() : STDERR_FILENO;
    const std::scoped_lock lock(mutex_);
    while (!text.empty()) {
      const ssize_t written = ::write(fd, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return complain(written < 0 ? errno : ENOSPC);
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

 private:
  void complain(int error) {
    if (file_ && !complained_)
      spdlog::warn("--trace-file '{}': {}; lines are missing in it", path_, std::strerror(error));
    complained_ = true;
  }

  const FileDescriptor file_;
  const std::string path_;
  bool complained_ = false;
  std::mutex mutex_;  // keeps a text in one piece; a leaf
};

}  // namespace

Result<TraceKind> parse_trace_kinds(std::string_view text) {
  TraceKind kinds = TraceKind::kNone;
  for (;;) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    TraceKind kind = TraceKind::kNone;
    for (const Name& n : kNames)
      if (n.name == item) kind = n.kind;
    if (kind == TraceKind::kNone)
      return fail(ErrorCode::kInvalidArgument, "'{}': unknown; there are: bt, exits, mmu, irq", item);
    kinds = kinds | kind;
    if (comma == std::string_view::npos) return kinds;
    text.remove_prefix(comma + 1);
  }
}

Result<std::unique_ptr<TraceSink>> open_trace(const std::string& path) {
  FileDescriptor file;
  if (!path.empty())
    VELLUM_TRY_ASSIGN_TO(file, FileDescriptor::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC));
  return std::make_unique<DescriptorSink>(std::move(file), path);
}

}  // namespace vellum
