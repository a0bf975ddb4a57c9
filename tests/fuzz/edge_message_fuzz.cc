// Upstream messages and frames for upstream: any bytes, cut anywhere, give a refusal or a result, and the same one whatever
// the cut; what was translated one way translates back and comes to rest. The first byte says how the input is cut, the
// second what it is.

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include "edge/translate.h"
#include "require.h"

namespace {

using namespace slipway;
using Bytes = std::vector<std::byte>;
using Outcome = std::expected<Bytes, EdgeFault>;

const HeaderMac& link_mac() {
  static const HeaderMac mac(LinkKey{}, "fuzz");
  return mac;
}

struct Cut {
  Cut(Piece bytes, std::uint8_t step) {
    const std::size_t size = step == 0 ? std::max<std::size_t>(bytes.size(), 1) : step;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      list.push_back(bytes.subspan(at, std::min(size, bytes.size() - at)));
    }
  }
  std::vector<Piece> list;
};

Outcome joined(const std::expected<Translated, EdgeFault>& done, const std::vector<Piece>& pieces) {
  if (!done) {
    return std::unexpected(done.error());
  }
  Bytes all;
  for (std::size_t i = 0; i < done->piece_count; ++i) {
    all.insert(all.end(), pieces[i].begin(), pieces[i].end());
  }
  FUZZ_REQUIRE(all.size() == done->bytes);
  return all;
}

Outcome to_frame(Piece message, std::uint8_t step) {
  const Cut cut(message, step);
  std::array<std::byte, kTranslateScratchBytes> scratch;
  std::vector<Piece> pieces(cut.list.size() + 2 * kMaxKeptRuns);
  return joined(frame_of_message(Pieces(cut.list), {.checked = false}, {scratch, pieces}), pieces);
}

Outcome to_message(Piece frame, std::uint8_t step, bool sign) {
  const Cut cut(frame.subspan(kFrameHeaderBytes), step);
  std::array<std::byte, kTranslateScratchBytes> scratch;
  std::vector<Piece> pieces(cut.list.size() + 2 * kMaxKeptRuns);
  const EgressFields fields{.mac = sign ? &link_mac() : nullptr, .incoming_conn = 3};
  return joined(message_of_frame(frame.data(), Pieces(cut.list), fields, {scratch, pieces}), pieces);
}

// A frame that came out of a message: back, and to rest.
void check_frame_of_message(const Bytes& frame, std::uint8_t step) {
  FUZZ_REQUIRE(check_frame(frame) == FrameFault::kNone);
  const Outcome message = to_message(frame, step, true);
  if (!message) {
    FUZZ_REQUIRE(message.error() == EdgeFault::kTooBigForUpstream);
    return;
  }
  const std::array<Piece, 1> whole{Piece(*message)};
  UpstreamMessage parsed;
  const Pieces pieces(whole);
  FUZZ_REQUIRE(parse_message(pieces, &parsed) == EdgeFault::kNone);
  FUZZ_REQUIRE(validate(parsed) == EdgeFault::kNone);
  FUZZ_REQUIRE(check_mac(parsed, pieces, {.mac = &link_mac()}) == EdgeFault::kNone);
  const Outcome again = to_frame(*message, step);
  FUZZ_REQUIRE(again && *again == frame);
}

void run_message(Piece input, std::uint8_t step) {
  const Outcome one = to_frame(input, 0);
  const Outcome other = to_frame(input, step);
  FUZZ_REQUIRE(one == other);
  if (one) {
    check_frame_of_message(*one, step);
  }
  const Cut cut(input, step);
  UpstreamMessage parsed;
  const Pieces pieces(cut.list);
  if (parse_message(pieces, &parsed) == EdgeFault::kNone) {
    static_cast<void>(check_mac(parsed, pieces, {.mac = &link_mac()}));
    static_cast<void>(check_mac(parsed, pieces, {.strict = false}));
  }
}

void run_frame(Piece input, std::uint8_t step, FrameKind kind) {
  Bytes frame(std::max(input.size(), kFrameHeaderBytes));
  std::copy(input.begin(), input.end(), frame.begin());
  frame[0] = std::byte{kFrameVersion};
  frame[1] = static_cast<std::byte>(kind);
  const Outcome one = to_message(frame, 0, false);
  const Outcome other = to_message(frame, step, false);
  FUZZ_REQUIRE(one == other);
  if (!one) {
    return;
  }
  // A frame of any origin: what it becomes is a good message, and from there on nothing changes any more.
  const Outcome next = to_frame(*one, step);
  if (!next) {
    FUZZ_REQUIRE(next.error() == EdgeFault::kControlTooBig || next.error() == EdgeFault::kFrameTooBig);
    return;
  }
  check_frame_of_message(*next, step);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) {
    return 0;
  }
  const Piece input(reinterpret_cast<const std::byte*>(data) + 2, size - 2);
  if (data[1] % 4 == 0) {
    run_frame(input, data[0], static_cast<FrameKind>(1 + data[1] / 4 % 5));
  } else {
    run_message(input, data[0]);
  }
  return 0;
}
