#include "devices/virtio/balloon.hpp"

#include <algorithm>
#include <bit>

#include "base/bits.hpp"
#include "memory/give_back.hpp"

namespace vellum::virtio {
namespace {

// Features (§5.5.3).
constexpr u64 kStatsQueue = 1 << 1, kDeflateOnOom = 1 << 2, kPagePoison = 1 << 4, kReporting = 1 << 5;
// Queues (§5.5.2). 3 is for free page hints.
constexpr unsigned kInflateQueue = 0, kDeflateQueue = 1, kStatisticsQueue = 2, kReportingQueue = 4;
constexpr u16 kDeviceType = 5;
constexpr u32 kClass = 0x00ff00;  ///< a device of no PCI class
constexpr u64 kEntry = 4;         ///< the number of a page of 4 KiB
constexpr u64 kRecord = 10;       ///< a statistic's tag and value
constexpr u64 kPiece = 256;       ///< pages looked at together; as many as Linux sends in one chain
/// Pages of one turn of the loop's: some milliseconds at worst.
constexpr u64 kMostPages = 2048;

struct Statistic {
  std::string_view key, text;
};
constexpr std::array<Statistic, Balloon::kStatistics> kNames = {{
    {"swap_in", "guest: bytes swapped in"},
    {"swap_out", "guest: bytes swapped out"},
    {"major_faults", "guest: major page faults"},
    {"minor_faults", "guest: minor page faults"},
    {"free_memory", "guest: bytes unused"},
    {"total_memory", "guest: bytes of memory"},
    {"available_memory", "guest: bytes available"},
    {"disk_caches", "guest: bytes of page cache"},
    {"hugetlb_allocations", "guest: huge pages taken"},
    {"hugetlb_failures", "guest: huge pages not to be had"},
}};

u64 features_of(const BalloonOptions& options) {
  return kStatsQueue | kPagePoison | (options.deflate_on_oom ? kDeflateOnOom : 0) |
         (options.free_page_reporting ? kReporting : 0);
}

void set_byte(u32& value, unsigned byte, u8 to) {
  value = (value & ~(u32{0xff} << (8 * byte))) | u32{to} << (8 * byte);
}

}  // namespace

Balloon::Balloon(const IoContext& context, const BalloonOptions& options, const State& state)
    : Device(context,
             {kDeviceType, kClass, "virtio-balloon", features_of(options), std::vector<u16>(5, kQueueSize)},
             state.virtio),
      options_(options),
      skip_(state.done),
      target_(state.target),
      actual_(state.actual),
      poison_(state.poison),
      known_(state.known & (bit(kStatistics) - 1)) {
  std::copy_n(state.statistics.begin(), std::min<std::size_t>(state.statistics.size(), kStatistics),
              statistics_.begin());
  // RAM has not got its contents yet: resume() says when.
  paused_ = (state.virtio.status & kDriverOk) != 0;
  ended_ = (state.virtio.status & kNeedsReset) != 0;
}

// The configuration space: num_pages, actual, free_page_hint_cmd_id, poison_val (§5.5.4).
std::vector<u8> Balloon::config() const {
  const std::array<u32, 4> values{target_, actual_, 0, poison_};
  const auto bytes = std::bit_cast<std::array<u8, sizeof values>>(values);
  return {bytes.begin(), bytes.end()};
}

void Balloon::config_written(u64 offset, u8 value) {
  const auto byte = static_cast<unsigned>(offset % 4);
  if (offset / 4 == 1) set_byte(actual_, byte, value);
  if (offset / 4 == 3) set_byte(poison_, byte, value);
}

void Balloon::set_target(u32 pages) {
  {
    std::scoped_lock lock(mutex_);
    if (pages == target_) return;
    target_ = pages;
  }
  config_changed();
}

u32 Balloon::actual() const {
  std::scoped_lock lock(mutex_);
  return actual_;
}

Balloon::Report Balloon::report() const {
  std::scoped_lock lock(mutex_);
  Report report{target_, actual_, {}};
  for (unsigned n = 0; n < kStatistics; ++n)
    if ((known_ >> n & 1) != 0) report.statistics.emplace_back(kNames[n].key, statistics_[n]);
  return report;
}

// Linux numbers the queues that it uses without gaps; §5.5.2 gives each its own number. Which of the two a
// driver means can be seen from the queues that it has set up.
void Balloon::activated() {
  const bool statistics = negotiated(kStatsQueue);
  const unsigned without_gaps = statistics ? kStatisticsQueue + 1 : kStatisticsQueue;
  statistics_queue_ = statistics ? kStatisticsQueue : kNoQueue;
  reporting_queue_ = kNoQueue;
  if (negotiated(kReporting))
    reporting_queue_ = queue(kReportingQueue) != nullptr ? kReportingQueue : without_gaps;
  // Linux makes its first statistics available before the device is ready, and tells it too early to be
  // heard.
  process(kStatisticsQueue);
}

void Balloon::stop() {
  inflating_.reset();
  statistics_buffer_.reset();
  skip_ = 0;
  ended_ = false;
  if (delay_) delay_->disarm();
  // A reset driver has nothing in the balloon, and says anew what it fills pages with.
  std::scoped_lock lock(mutex_);
  actual_ = 0;
  poison_ = 0;
}

void Balloon::end(const std::string& why) {
  ended_ = true;
  needs_reset(why);
}

void Balloon::resume() {
  paused_ = false;
  // A queue may have been taken back meanwhile.
  if (queue(kInflateQueue) == nullptr) inflating_.reset();
  if (queue(statistics_queue_) == nullptr) statistics_buffer_.reset();
  Device::resume();
}

void Balloon::process(unsigned index) {
  if (halted() || queue(index) == nullptr) return;
  if (index == kInflateQueue) return inflate();
  if (index == kDeflateQueue) return deflate();
  if (index == statistics_queue_) return read_statistics();
  if (index == reporting_queue_) return take_reports();
}

u64 Balloon::give_back(GuestPhysRange range) {
  if (!vellum::give_back(dma().ram(), range)) refused_.add(range.size / kPageSize);
  return range.size / kPageSize;
}

void Balloon::inflate() {
  Queue& q = *queue(kInflateQueue);
  q.disable_notifications();
  // Under the virtual clock all is done while the driver waits.
  u64 budget = context().synchronous ? ~u64{0} : kMostPages;
  bool all = true, pushed = false;
  // No more than the ring has: a driver that refills it as fast must not keep the loop.
  for (unsigned taken = 0; all && taken <= q.state().size; ++taken) {
    if (!inflating_) {
      Taken next;
      next.before = q.position();
      if (!q.pop(next.chain)) break;
      next.size = next.chain.readable_size() / kEntry * kEntry;
      // GUEST-CONTROLLED: how many. More than there are pages is no list of different ones.
      if (next.size / kEntry > dma().ram().size() / kPageSize)
        return end("a list of more pages than there are");
      next.done = std::min(std::exchange(skip_, 0), next.size);
      inflating_ = std::move(next);
    }
    all = take_pages(*inflating_, budget);
    if (!all) break;
    q.push(inflating_->chain, 0);
    inflating_.reset();
    pushed = true;
  }
  if (pushed) interrupt_if_wanted(kInflateQueue);
  check(kInflateQueue);
  if (!all || q.enable_notifications()) look_again(kInflateQueue);
}

// False: the rest is for another turn.
bool Balloon::take_pages(Taken& inflating, u64& budget) {
  std::array<u8, kPiece * kEntry> bytes;
  std::array<u32, kPiece> pages;
  while (inflating.done < inflating.size) {
    if (budget == 0) return false;
    const u64 wanted = std::min<u64>({bytes.size(), inflating.size - inflating.done, budget * kEntry});
    const u64 got = read_chain(inflating.chain, inflating.done, std::span(bytes).first(wanted));
    inflating.done += got;
    const u64 count = got / kEntry;
    budget -= std::min(budget, count);
    inflated_.add(count);
    for (u64 n = 0; n < count; ++n) pages[n] = guest_load<u32>(bytes.data() + n * kEntry);
    // GUEST-CONTROLLED: the numbers. One that is not RAM's is passed over; runs go together.
    const std::span list(pages.data(), count);
    std::ranges::sort(list);
    for (u64 first = 0; first < count;) {
      u64 next = first + 1;
      while (next < count && list[next] - list[next - 1] <= 1) ++next;
      const u64 run = u64{list[next - 1]} - list[first] + 1;
      give_back({GuestPhys(u64{list[first]} << kPageShift), run << kPageShift});
      first = next;
    }
  }
  return true;
}

// The pages come back by being used.
void Balloon::deflate() {
  Queue& q = *queue(kDeflateQueue);
  q.disable_notifications();
  Chain chain;
  bool pushed = false;
  for (unsigned taken = 0; taken < q.state().size && q.pop(chain); ++taken) {
    deflated_.add(chain.readable_size() / kEntry);
    q.push(chain, 0);
    pushed = true;
  }
  if (pushed) interrupt_if_wanted(kDeflateQueue);
  check(kDeflateQueue);
  if (q.enable_notifications()) look_again(kDeflateQueue);
}

// §5.5.6.3: the driver's one buffer stays with the device until it asks for new statistics by giving it back.
void Balloon::read_statistics() {
  if (statistics_buffer_) return;
  Queue& q = *queue(statistics_queue_);
  Taken taken;
  taken.before = q.position();
  if (!q.pop(taken.chain)) return check(statistics_queue_);
  {
    std::scoped_lock lock(mutex_);
    std::array<u8, kRecord> record;
    // GUEST-CONTROLLED: tags, values and how many; each tag once is enough.
    for (u64 n = 0; n < 64 && read_chain(taken.chain, n * kRecord, record) == kRecord; ++n) {
      const auto tag = guest_load<u16>(record.data());
      if (tag >= kStatistics) continue;
      statistics_[tag] = guest_load<u64>(record.data() + 2);
      known_ |= bit(tag);
    }
  }
  statistics_buffer_ = std::move(taken);
  if (options_.stats_seconds == 0 || context().synchronous) return;
  if (!delay_) delay_ = context().loop->delay([this] { ask_for_statistics(); });
  delay_->arm(std::chrono::seconds(options_.stats_seconds));
}

void Balloon::ask_for_statistics() {
  if (halted() || !statistics_buffer_) return;
  const Taken taken = std::move(*statistics_buffer_);
  statistics_buffer_.reset();
  complete(statistics_queue_, taken.chain, 0);
}

// §5.5.6.7. What a driver fills its free pages with it expects to find there: zeroes are all that we have.
void Balloon::take_reports() {
  Queue& q = *queue(reporting_queue_);
  q.disable_notifications();
  bool keep;
  {
    std::scoped_lock lock(mutex_);
    keep = negotiated(kPagePoison) && poison_ != 0;
  }
  Chain chain;
  bool pushed = false;
  for (unsigned taken = 0; taken < q.state().size && q.pop(chain); ++taken) {
    for (const Buffer& buffer : chain.writable) {
      const u64 start = align_up(buffer.address.value, kPageSize);
      const u64 end = align_down(buffer.address.value + buffer.host.size(), kPageSize);
      if (!keep && start < end) reported_.add(give_back({GuestPhys(start), end - start}));
    }
    q.push(chain, 0);
    pushed = true;
  }
  if (pushed) interrupt_if_wanted(reporting_queue_);
  check(reporting_queue_);
  if (q.enable_notifications()) look_again(reporting_queue_);
}

SavedState Balloon::save() const {
  State state;
  state.virtio = device_state();
  state.done = skip_;
  if (inflating_) {
    inflating_->before.apply(state.virtio.queues[kInflateQueue]);
    state.done = inflating_->done;
  }
  if (statistics_buffer_) statistics_buffer_->before.apply(state.virtio.queues[statistics_queue_]);
  std::scoped_lock lock(mutex_);
  state.target = target_, state.actual = actual_, state.poison = poison_;
  state.known = known_;
  state.statistics.assign(statistics_.begin(), statistics_.end());
  return encode_state(state);
}

void Balloon::stats(std::vector<StatRow>& rows) const {
  Device::stats(rows);
  const auto add = [&](std::string_view name, u64 count) {
    if (count != 0) rows.push_back({kind().name, std::string(name), count, 0});
  };
  add("pages given", inflated_.get());
  add("pages taken back", deflated_.get());
  add("pages reported free", reported_.get());
  add("pages not given back", refused_.get());
  std::scoped_lock lock(mutex_);
  add("bytes in the balloon now", u64{actual_} * kPageSize);
  for (unsigned n = 0; n < kStatistics; ++n)
    if ((known_ >> n & 1) != 0) rows.push_back({kind().name, std::string(kNames[n].text), statistics_[n], 0});
}

}  // namespace vellum::virtio
