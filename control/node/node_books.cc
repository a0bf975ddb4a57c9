// The books: every received frame is accounted for. Each worker copies its counters at the end of one of its loops,
// where they are exact; what is on its way between workers is the difference of what they handed out and took in.
#include <chrono>
#include <thread>

#include "node/node.h"

namespace slipway {

namespace {

constexpr auto kSnapshotDeadline = std::chrono::milliseconds(500);

BooksRow books_row(const WorkerCounters& c, std::string name) {
  BooksRow row;
  row.worker = std::move(name);
  row.frames_in = c.frames_in.get();
  row.injected = c.injected.get();
  row.forwarded = c.forwarded.get();
  row.punted = c.punted.get();
  row.consumed = c.consumed.get();
  row.dropped_frames = c.dropped_frames.get();
  row.copies_made = c.copies_made.get();
  row.handoff_in = c.handoff_in.get();
  row.sent = c.sent.get();
  row.handoff_out = c.handoff_out.get();
  row.dropped_copies = c.dropped_copies.get();
  row.held = c.held.get();
  return row;
}

void settle(BooksRow& row) {
  row.frames_difference = static_cast<std::int64_t>(row.frames_in + row.injected) -
                          static_cast<std::int64_t>(row.forwarded + row.punted + row.consumed + row.dropped_frames + row.waiting);
  row.copies_difference = static_cast<std::int64_t>(row.copies_made + row.handoff_in) -
                          static_cast<std::int64_t>(row.sent + row.handoff_out + row.dropped_copies + row.held);
}

void add(BooksRow& sum, const BooksRow& row) {
  sum.frames_in += row.frames_in;
  sum.injected += row.injected;
  sum.forwarded += row.forwarded;
  sum.punted += row.punted;
  sum.consumed += row.consumed;
  sum.dropped_frames += row.dropped_frames;
  sum.waiting += row.waiting;
  sum.copies_made += row.copies_made;
  sum.handoff_in += row.handoff_in;
  sum.sent += row.sent;
  sum.handoff_out += row.handoff_out;
  sum.dropped_copies += row.dropped_copies;
  sum.held += row.held;
}

}  // namespace

BooksPage Node::books() {
  // The answer is part of one request, so the control thread waits here; a worker's loop is microseconds. What
  // workers tell meanwhile is looked at, but not what arrives from other requests.
  ++snapshot_request_;
  snapshots_done_ = 0;
  fleet_->post_all(Command::kSnapshot, Snapshot{snapshot_request_});
  fleet_->flush();
  const auto until = std::chrono::steady_clock::now() + kSnapshotDeadline;
  while (snapshots_done_ < workers_->size() && std::chrono::steady_clock::now() < until) {
    if (!drain_events()) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    fleet_->flush();
  }
  BooksPage page;
  page.total.worker = "total";
  page.balanced = snapshots_done_ == workers_->size();
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    auto row = books_row((*workers_)[i].snapshot(), (*workers_)[i].config().name);
    settle(row);
    page.balanced = page.balanced && row.frames_difference == 0 && row.copies_difference == 0;
    add(page.total, row);
    page.workers.push_back(std::move(row));
  }
  settle(page.total);
  return page;
}

}  // namespace slipway
