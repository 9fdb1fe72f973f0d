// Implements ext/webhook/signature.h with PostgreSQL's own HMAC and base64.
#include "ext/webhook/signature.h"

#include <algorithm>

#include "pg/guard.h"

namespace alerting::ext {

namespace {

constexpr std::string_view kEncodedPrefix = "whsec_";

// PostgreSQL 18 takes unsigned bytes where earlier versions take chars.
struct ConstBytes {
  const void* data;
  operator const char*() const { return static_cast<const char*>(data); }
  operator const uint8*() const { return static_cast<const uint8*>(data); }
};
struct Bytes {
  void* data;
  operator char*() const { return static_cast<char*>(data); }
  operator uint8*() const { return static_cast<uint8*>(data); }
};

const uint8* Unsigned(std::string_view bytes) {
  return reinterpret_cast<const uint8*>(bytes.data());
}

// Makes a resource owner the current one.
class OwnerScope {
 public:
  explicit OwnerScope(ResourceOwner owner) : outer_(CurrentResourceOwner) {
    CurrentResourceOwner = owner;
  }
  ~OwnerScope() { CurrentResourceOwner = outer_; }
  OwnerScope(const OwnerScope&) = delete;
  OwnerScope& operator=(const OwnerScope&) = delete;

 private:
  ResourceOwner outer_;
};

// Made once for the process, under an owner that is never released: what pg_hmac_create makes
// belongs to the current one, and outside of transactions there is none.
pg_hmac_ctx* HmacContext() {
  static pg_hmac_ctx* context = nullptr;
  if (context != nullptr) return context;
  static ResourceOwner own = nullptr;
  if (own == nullptr) {
    own = pg::Call([] { return ResourceOwnerCreate(nullptr, "alerting signature"); });
  }
  const OwnerScope scope(own);
  context = pg::Call([] { return pg_hmac_create(PG_SHA256); });
  if (context == nullptr) {
    pg::Throw([] { ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"))); });
  }
  return context;
}

// PostgreSQL code; ereports when the library underneath fails.
void ComputeHmac(pg_hmac_ctx* context, std::string_view key, std::string_view head,
                 std::string_view body, uint8* digest) {
  if (pg_hmac_init(context, Unsigned(key), key.size()) < 0 ||
      pg_hmac_update(context, Unsigned(head), head.size()) < 0 ||
      pg_hmac_update(context, Unsigned(body), body.size()) < 0 ||
      pg_hmac_final(context, digest, PG_SHA256_DIGEST_LENGTH) < 0) {
    // Its error text could quote its input on no version, but it says nothing to an operator
    // either.
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not sign a webhook")));
  }
}

void AppendBase64(const uint8* bytes, int size, std::string* text) {
  const size_t before = text->size();
  const int room = pg_b64_enc_len(size) + 1;
  text->resize(before + static_cast<size_t>(room));
  const int length = pg_b64_encode(ConstBytes{bytes}, size, text->data() + before, room);
  text->resize(before + static_cast<size_t>(std::max(length, 0)));
}

// nullopt: malformed or empty.
std::optional<std::string> DecodeKey(std::string_view base64) {
  std::string encoded(base64);
  // Many generators leave the padding out.
  while (encoded.size() % 4 != 0 && encoded.size() % 4 != 1) encoded += '=';
  if (encoded.empty()) return std::nullopt;
  std::string key(encoded.size(), '\0');
  const int size = static_cast<int>(encoded.size());
  const int decoded = pg_b64_decode(encoded.c_str(), size, Bytes{key.data()}, size);
  if (decoded <= 0) return std::nullopt;
  key.resize(static_cast<size_t>(decoded));
  return key;
}

}  // namespace

std::optional<std::vector<std::string>> SecretKeys(std::string_view secret) {
  std::vector<std::string> keys;
  if (!secret.starts_with(kEncodedPrefix)) {
    keys.emplace_back(secret);
    return keys;
  }
  for (;;) {
    const size_t space = secret.find(' ');
    const std::string_view part = secret.substr(0, space);
    if (!part.starts_with(kEncodedPrefix)) return std::nullopt;
    std::optional<std::string> key = DecodeKey(part.substr(kEncodedPrefix.size()));
    if (!key) return std::nullopt;
    keys.push_back(*std::move(key));
    if (space == std::string_view::npos) return keys;
    secret.remove_prefix(space + 1);
  }
}

std::string NewSecret() {
  uint8 key[32];
  if (!pg_strong_random(key, sizeof(key))) {
    pg::Throw([&] {
      ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not make a random secret")));
    });
  }
  std::string secret(kEncodedPrefix);
  AppendBase64(key, sizeof(key), &secret);
  return secret;
}

std::string Sign(const std::vector<std::string>& keys, std::string_view id, int64_t unix_seconds,
                 std::string_view body) {
  std::string head(id);
  head.append(".").append(std::to_string(unix_seconds)).append(".");
  pg_hmac_ctx* context = HmacContext();
  std::string signatures;
  for (const std::string& key : keys) {
    uint8 digest[PG_SHA256_DIGEST_LENGTH];
    pg::Call([&] { ComputeHmac(context, key, head, body, digest); });
    signatures += signatures.empty() ? "v1," : " v1,";
    AppendBase64(digest, sizeof(digest), &signatures);
  }
  return signatures;
}

}  // namespace alerting::ext
