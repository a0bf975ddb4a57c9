#include "channel_manager/manager_records.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <protozero/pbf_writer.hpp>

#include "channel_manager/channel_manager_bounds.h"
#include "grpc_server/proto_read.h"

namespace slipway {
namespace {

using namespace proto_read;
using protozero::pbf_writer;

constexpr std::string_view kChannels = "manager/channel/";
constexpr std::string_view kNonces = "manager/nonce/";
constexpr std::size_t kRecordTextBytes = 64u << 10;

std::string key_of(std::string_view prefix, std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  std::size_t bytes = 0;
  std::string out(prefix);
  if (EVP_Q_digest(nullptr, "SHA256", nullptr, text.data(), text.size(), digest.data(), &bytes) == 1) {
    for (std::size_t i = 0; i < bytes; ++i) {
      out += fmt::format("{:02x}", digest[i]);
    }
  }
  return out;
}
std::string key_of(const UsedNonce& nonce) { return key_of(kNonces, nonce.channel + '\0' + nonce.nonce); }

std::string written(const ChannelRecord& record) {
  std::string out;
  pbf_writer message(out);
  message.add_string(1, record.channel);
  if (record.owner) {
    message.add_string(2, *record.owner);
  }
  if (record.callback_name) {
    message.add_string(3, *record.callback_name);
  }
  if (record.expires_at_s) {
    message.add_uint64(4, *record.expires_at_s);
  }
  return out;
}

std::string written(const UsedNonce& nonce) {
  std::string out;
  pbf_writer message(out);
  message.add_string(1, nonce.channel);
  message.add_string(2, nonce.nonce);
  message.add_uint64(3, nonce.not_after_s);
  return out;
}

std::expected<ChannelRecord, std::string> read_record(std::string_view bytes) {
  return decode_message(std::as_bytes(std::span(bytes)), [](pbf_reader reader) {
    ChannelRecord out;
    while (reader.next()) {
      switch (reader.tag()) {
        case 1:
          out.channel = bytes_of(reader, kRecordTextBytes, "the channel");
          break;
        case 2:
          out.owner = bytes_of(reader, kRecordTextBytes, "the owner");
          break;
        case 3:
          out.callback_name = bytes_of(reader, kRecordTextBytes, "the callback name");
          break;
        case 4:
          out.expires_at_s = number_of(reader, "the end");
          break;
        default:
          reader.skip();
      }
    }
    return out;
  });
}

std::expected<UsedNonce, std::string> read_nonce(std::string_view bytes) {
  return decode_message(std::as_bytes(std::span(bytes)), [](pbf_reader reader) {
    UsedNonce out;
    while (reader.next()) {
      switch (reader.tag()) {
        case 1:
          out.channel = bytes_of(reader, kRecordTextBytes, "the channel");
          break;
        case 2:
          out.nonce = bytes_of(reader, kRecordTextBytes, "the nonce");
          break;
        case 3:
          out.not_after_s = number_of(reader, "the end");
          break;
        default:
          reader.skip();
      }
    }
    return out;
  });
}

}  // namespace

ManagerRecords::ManagerRecords(SealedStore* store) : store_(store) {}

std::expected<void, std::string> ManagerRecords::load(const std::function<bool(const std::string&)>& exists, std::uint64_t now_s) {
  if (store_ == nullptr) {
    return {};
  }
  for (auto& [name, value] : store_->take_loaded(kChannels)) {
    auto record = read_record(value);
    if (!record) {
      return std::unexpected(fmt::format("the record {} of the channel manager cannot be read: {}", name, record.error()));
    }
    if (exists(record->channel)) {
      channels_.insert_or_assign(record->channel, *std::move(record));
    } else {
      store_->erase(name, {});
    }
  }
  for (auto& [name, value] : store_->take_loaded(kNonces)) {
    auto nonce = read_nonce(value);
    if (!nonce) {
      return std::unexpected(fmt::format("the record {} of the channel manager cannot be read: {}", name, nonce.error()));
    }
    if (nonce->not_after_s < now_s) {
      store_->erase(name, {});
    } else {
      nonces_.add(*std::move(nonce));
    }
  }
  return {};
}

const ChannelRecord* ManagerRecords::find(const std::string& channel) const {
  const auto at = channels_.find(channel);
  return at == channels_.end() ? nullptr : &at->second;
}

bool ManagerRecords::full() const { return channels_.size() >= kManagerOwners; }

void ManagerRecords::put(ChannelRecord record, Done done) {
  if (store_ == nullptr) {
    channels_.insert_or_assign(record.channel, std::move(record));
    done({});
    return;
  }
  const auto name = key_of(kChannels, record.channel);
  const auto value = written(record);
  channels_.insert_or_assign(record.channel, std::move(record));
  store_->put(name, value, std::move(done));
}

void ManagerRecords::erase(const std::string& channel) {
  if (channels_.erase(channel) != 0 && store_ != nullptr) {
    store_->erase(key_of(kChannels, channel), {});
  }
}

std::vector<std::string> ManagerRecords::expired(std::uint64_t now_s) const {
  std::vector<std::string> out;
  for (const auto& [channel, record] : channels_) {
    if (record.expires_at_s && *record.expires_at_s <= now_s) {
      out.push_back(channel);
    }
  }
  return out;
}

void ManagerRecords::use(UsedNonce nonce, std::uint64_t now_s, Used done) {
  for (const auto& ended : nonces_.forget_ended(now_s)) {
    if (store_ != nullptr) {
      store_->erase(key_of(ended), {});
    }
  }
  if (nonces_.used(nonce.channel, nonce.nonce)) {
    done(std::unexpected(UseError{UseFault::kUsedBefore, {}}));
    return;
  }
  if (nonces_.full()) {
    done(std::unexpected(UseError{UseFault::kNotRecorded, fmt::format("{} are remembered, which is the limit", kUsedNonces)}));
    return;
  }
  nonces_.add(nonce);
  if (store_ == nullptr) {
    done({});
    return;
  }
  store_->put(key_of(nonce), written(nonce),
              [this, alive = std::weak_ptr(alive_), nonce, done = std::move(done)](std::expected<void, std::string> stored) mutable {
                if (alive.expired()) {
                  return;
                }
                if (!stored) {
                  nonces_.remove(nonce);
                  done(std::unexpected(UseError{UseFault::kNotRecorded, stored.error()}));
                  return;
                }
                done({});
              });
}

}  // namespace slipway
