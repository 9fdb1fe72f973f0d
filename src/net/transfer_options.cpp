// What libcurl is told: once of each handle, and of each request that the handle is used for. See
// net/transfer.h.
#include <utility>

#include "core/url.h"
#include "net/transfer.h"
#include "net/webhook_client.h"

namespace alerting::net {

namespace {

// Sets options of a handle until one is refused: for want of memory, or because this libcurl does
// not know it.
class OptionSetter {
 public:
  explicit OptionSetter(CURL* easy) : easy_(easy) {}
  template <typename T>
  void operator()(CURLoption option, T value) {
    ok_ = ok_ && curl_easy_setopt(easy_, option, value) == CURLE_OK;
  }
  bool ok() const { return ok_; }

 private:
  CURL* easy_;
  bool ok_ = true;
};

}  // namespace

std::unique_ptr<WebhookClient::Transfer> WebhookClient::MakeTransfer(bool https) {
  auto transfer = std::make_unique<Transfer>();
  transfer->client = this;
  transfer->https = https;
  transfer->files = options_.tls;
  transfer->easy.reset(curl_easy_init());
  if (transfer->easy.get() == nullptr) return nullptr;
  transfer->body.reserve(kKeptBodyBytes);
  const bool ok = transfer->SetProtocol() && transfer->SetTls() && transfer->SetCallbacks();
  return ok ? std::move(transfer) : nullptr;
}

bool WebhookClient::Transfer::SetProtocol() {
  OptionSetter set(easy.get());
  set(CURLOPT_NOSIGNAL, 1L);
  // Without it, giving up a request would wait for the thread that still resolves its host name.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROXY, "");
  set(CURLOPT_NOPROXY, "*");
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  if (!client->resolve_.empty()) set(CURLOPT_RESOLVE, client->resolve_.back().get());
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  set(CURLOPT_HTTP_CONTENT_DECODING, 0L);
  set(CURLOPT_USERAGENT, "alerting/1.1");
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  // Taken and given back with most requests. 16 kB are too large for malloc's caches, but of a
  // frame of HTTP/2 that is larger than the buffer some versions of libcurl read the rest only
  // when more comes, if another request waits at the same connection.
  set(CURLOPT_BUFFERSIZE, https ? 16384L : 1024L);
  set(CURLOPT_POST, 1L);
  return set.ok();
}

// Only a new handle can go back to the system's authorities: see TakeIdle.
bool WebhookClient::Transfer::SetTls() {
  OptionSetter set(easy.get());
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_SESSIONID_CACHE, 0L);  // one that is resumed shows no certificate to verify
  if (!files.authorities.empty()) {
    set(CURLOPT_CAINFO, files.authorities.c_str());
    // Else a folder of the system's that libcurl knows would be trusted, too. Without one it would
    // keep for a day what it has read of the file.
    (void)curl_easy_setopt(easy.get(), CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    (void)curl_easy_setopt(easy.get(), CURLOPT_CA_CACHE_TIMEOUT, 0L);
  }
  if (!files.certificate.empty()) {
    set(CURLOPT_SSLCERT, files.certificate.c_str());
    set(CURLOPT_SSLKEY, (files.key.empty() ? files.certificate : files.key).c_str());
    // Without one, OpenSSL would ask at a terminal for the passphrase of an encrypted key.
    set(CURLOPT_KEYPASSWD, "");
  }
  return set.ok();
}

bool WebhookClient::Transfer::SetCallbacks() {
  OptionSetter set(easy.get());
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, error_buffer);
  set(CURLOPT_OPENSOCKETFUNCTION, &WebhookClient::OnOpenSocket);
  set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  set(CURLOPT_CLOSESOCKETFUNCTION, &WebhookClient::OnCloseSocket);
  set(CURLOPT_CLOSESOCKETDATA, client);  // the connection outlives the handle
  set(CURLOPT_PREREQFUNCTION, &WebhookClient::OnBeforeRequest);
  set(CURLOPT_PREREQDATA, static_cast<void*>(this));
  set(CURLOPT_HEADERFUNCTION, &WebhookClient::OnHeader);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_VERBOSE, https ? 1L : 0L);  // for OnReceived
  set(CURLOPT_DEBUGFUNCTION, &WebhookClient::OnReceived);
  set(CURLOPT_DEBUGDATA, client);
  set(CURLOPT_WRITEFUNCTION, &WebhookClient::OnBody);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  return set.ok();
}

bool WebhookClient::Transfer::Prepare(Request next) {
  request = std::move(next);
  const bool same_url = url == request.url;
  if (!same_url) {
    std::string ignored;
    const std::optional<Url> parsed = ParseUrl(request.url, &ignored);
    if (!parsed || parsed->https != https) return false;
  }
  static_cast<Progress&>(*this) = Progress();
  body.clear();
  error_buffer[0] = '\0';
  if (!LinkHeaders()) return false;
  OptionSetter set(easy.get());
  if (!same_url) {
    set(CURLOPT_URL, request.url.c_str());
    url = set.ok() ? request.url : std::string();
  }
  // Where one kept connection has ended, the others may have, too.
  set(CURLOPT_FRESH_CONNECT, again ? 1L : 0L);
  set(CURLOPT_HTTPHEADER, headers.data());
  set(CURLOPT_POSTFIELDS, request.body.c_str());
  set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  set(CURLOPT_CONNECTTIMEOUT_MS, request.connect_timeout_ms);
  return set.ok();
}

}  // namespace alerting::net
