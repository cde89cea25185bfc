/**
 * A key and a certificate for localhost, signed by themselves, until 2226. Both are public: they protect nothing and nobody
 * may trust them. Node can make keys, but no certificates.
 */

export const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgmzJusLz/xc8uL91C
A8d2GCjxo+qeRtVuAWk1nM+5d1KhRANCAATG0TeSxXCIn6AYhXXZD9nUmacOrJNN
QulR3VSOriiIgeRAS0TF/KFrtzjMGh/iz0lrz3+8oXq8SX1zj5naTHZ3
-----END PRIVATE KEY-----
`

export const cert = `-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUFHltEsnhpG2Lq2/tTZSlfEiDxkowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjIzNTc1NVoYDzIyMjYxMDA1
MjM1NzU1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATG0TeSxXCIn6AYhXXZD9nUmacOrJNNQulR3VSOriiIgeRAS0TF/KFr
tzjMGh/iz0lrz3+8oXq8SX1zj5naTHZ3o28wbTAdBgNVHQ4EFgQUOa3JB4/ifvcu
Qyr2f7zXTJdzCe4wHwYDVR0jBBgwFoAUOa3JB4/ifvcuQyr2f7zXTJdzCe4wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAOKx1cR5pB33a6PbJFiaFG9JAxXMOT+JI7tIc+bnT2MzAiEA
2c0BjaTqgvO9OcxvYNCS7Wy42FAX2KMgxB/crena8nw=
-----END CERTIFICATE-----
`
