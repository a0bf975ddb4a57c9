// What a message of an upstream application costs at the edge: bytes to native frame and back to bytes, against
// libprotobuf's parse and serialize of the same bytes into one reused object, which is the least that a node built on it
// pays. Neither side signs in the compared blocks. The figures below the table say what each direction and the header
// MACs cost by themselves.

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "dataplane.pb.h"
#include "edge/translate.h"
#include "harness.h"

namespace slipway::bench {
namespace {

namespace pb = dataplane::proto::v1;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kIdentityBytes = 236;  // of a shared-secret token as upstream's applications make it
constexpr int kBatch = 256;                  // messages between two looks at the clock

[[noreturn]] void fail(EdgeFault fault) {
  fmt::print(stderr, "edge_translate: {}\n", edge_fault_text(fault).what);
  std::exit(1);
}

pb::Message sample(std::size_t payload_bytes) {
  pb::Message message;
  auto* publish = message.mutable_publish();
  auto* header = publish->mutable_header();
  for (auto* name : {header->mutable_source(), header->mutable_destination()}) {
    const Name hashed = hash_name("organization", "namespace", "service");
    name->mutable_name()->set_component_0(hashed.component[0]);
    name->mutable_name()->set_component_1(hashed.component[1]);
    name->mutable_name()->set_component_2(hashed.component[2]);
    name->mutable_name()->mutable_name_id()->set_id_0(0x0123456789ABCDEF);
    name->mutable_name()->mutable_name_id()->set_id_1(0xFEDCBA9876543210);
    name->mutable_str_name()->set_str_component_0("organization");
    name->mutable_str_name()->set_str_component_1("namespace");
    name->mutable_str_name()->set_str_component_2("service");
  }
  header->set_identity(std::string(kIdentityBytes, 'i'));
  header->set_fanout(1);
  header->set_version("3.4.6");
  header->set_ttl(8);
  header->set_incoming_conn(0);
  publish->mutable_session()->set_session_type(1);
  publish->mutable_session()->set_session_message_type(1);
  publish->mutable_session()->set_session_id(0x12345678);
  publish->mutable_session()->set_message_id(1000);
  publish->mutable_msg()->mutable_app_payload()->set_payload_type("msg");
  publish->mutable_msg()->mutable_app_payload()->set_blob(std::string(payload_bytes, 'p'));
  return message;
}

// One message through our codec, in steps that can be timed apart.
class Ours {
 public:
  explicit Ours(const Bytes& message) : message_{Piece(message)}, mac_(LinkKey{}, "00000000-0000-4000-8000-000000000001") {
    in();
    const Translated sent = write(&mac_, nullptr);
    for (std::size_t i = 0; i < sent.piece_count; ++i) {
      signed_.insert(signed_.end(), out_pieces_[i].begin(), out_pieces_[i].end());
    }
  }

  void in() { take(message_, {.checked = false}); }
  void in_signed(MacMemo* memo) {
    const std::array<Piece, 1> message{Piece(signed_)};
    take(message, {.mac = &mac_, .memo = memo});
  }
  // Of the frame that came in last.
  void out() { write(nullptr, nullptr); }
  void out_signed(MacMemo* memo) { write(&mac_, memo); }
  // Every header another one: the fan-out is a number of the header that nothing else depends on.
  void out_changed(MacMemo* memo) {
    store_le(in_scratch_.data() + frame_offset::kFanout, ++changes_);
    write(&mac_, memo);
  }

 private:
  void take(std::span<const Piece> message, const MacRules& rules) {
    const auto done = frame_of_message(Pieces(message), rules, {in_scratch_, in_pieces_});
    if (!done) {
      fail(done.error());
    }
    frame_ = *done;
  }
  Translated write(const HeaderMac* mac, MacMemo* memo) {
    // The body: what follows the header in the first piece, and the other pieces.
    std::array<Piece, 8> body;
    std::copy_n(in_pieces_.begin(), frame_.piece_count, body.begin());
    body[0] = body[0].subspan(kFrameHeaderBytes);
    const auto done = message_of_frame(in_scratch_.data(), Pieces(std::span(body).first(frame_.piece_count)),
                                       {.mac = mac, .incoming_conn = 5, .memo = memo}, {out_scratch_, out_pieces_});
    if (!done) {
      fail(done.error());
    }
    return *done;
  }

  std::array<Piece, 1> message_;
  HeaderMac mac_;
  Bytes signed_;
  std::array<std::byte, kMbufDataBytes> in_scratch_;
  std::array<std::byte, kMbufDataBytes> out_scratch_;
  std::array<Piece, 8> in_pieces_;
  std::array<Piece, 8> out_pieces_;
  Translated frame_;
  std::uint32_t changes_ = 1u << 28;
};

template <class Step>
Arm arm_of(Step step) {
  return [step](std::uint64_t ns) {
    return Work{.operations = run_for(ns, [&step] {
                  for (int i = 0; i < kBatch; ++i) {
                    step();
                  }
                  return kBatch;
                })};
  };
}

// Nanoseconds of thread time that one step takes.
template <class Step>
double cost_of(Step step, std::uint64_t block_ns) {
  const Arm arm = arm_of(step);
  arm(block_ns / 4);
  const auto before = thread_cpu_ns();
  const Work work = arm(block_ns);
  return static_cast<double>(thread_cpu_ns() - before) / static_cast<double>(work.operations);
}

void measure(std::size_t payload_bytes, const Options& options, Report* report) {
  const std::string text = sample(payload_bytes).SerializeAsString();
  const auto* at = reinterpret_cast<const std::byte*>(text.data());
  const Bytes bytes(at, at + text.size());
  Ours ours(bytes);
  pb::Message object;
  std::vector<char> out(text.size() + 64);
  const auto library = [&] {
    if (!object.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      fail(EdgeFault::kCutShort);
    }
    object.mutable_publish()->mutable_header()->set_ttl(7);
    object.mutable_publish()->mutable_header()->set_incoming_conn(5);
    // ByteSizeLong, then the bytes: what SerializeToArray does.
    object.SerializeToArray(out.data(), static_cast<int>(out.size()));
  };
  const auto both_ways = [&] {
    ours.in();
    ours.out();
  };
  const std::string name = payload_bytes < 1024 ? fmt::format("{} B", payload_bytes) : fmt::format("{} KiB", payload_bytes / 1024);
  report->comparisons.push_back(compare(name, arm_of(both_ways), arm_of(library), options));

  const std::uint64_t block_ns = options.block_ms * std::uint64_t{1'000'000};
  MacMemo memo;
  const auto figure = [&](std::string_view what, auto step) {
    report->figures.emplace_back(fmt::format("{} {}, ns", name, what), cost_of(step, block_ns));
  };
  figure("in", [&] { ours.in(); });
  figure("out", [&] { ours.out(); });
  figure("in, MAC verified", [&] { ours.in_signed(nullptr); });
  figure("out, MAC computed", [&] { ours.out_signed(nullptr); });
  figure("in, MAC remembered", [&] { ours.in_signed(&memo); });
  figure("out, MAC remembered", [&] { ours.out_signed(&memo); });
  figure("out, MAC never seen before", [&] { ours.out_changed(&memo); });
}

int run(const Options& options) {
  Report report{.bench = "edge_translate", .bar = 1};
  for (const std::size_t payload_bytes : {64u, 1024u, 16384u}) {
    measure(payload_bytes, options, &report);
  }
  return print_report(report, options);
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) { return slipway::bench::run(slipway::bench::parse_options(argc, argv)); }
