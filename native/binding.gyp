{
  # The addon brings everything but the C library, Node-API and libuv, which are in the process that loads it. It names no C
  # library: without one to link with, the symbols get no version, and one file serves every glibc and musl. What that takes is
  # in runtime.cc; scripts/lib/addon-check.mjs looks at the result. liburing is linked statically when its archive is found.
  'variables': {
    'sanitize%': 0,
    'liburing%': '<!(f="$(pkg-config --variable=libdir liburing 2>/dev/null)/liburing.a"; [ -f "$f" ] && echo "$f" || echo -luring)',
  },
  'targets': [
    {
      'target_name': 'uring_net',
      'sources': [
        'addon.cc',
        'address_object.cc',
        'buffer_ring.cc',
        'datagram_engine.cc',
        'datagram_object.cc',
        'datagrams.cc',
        'driver.cc',
        'driver_object.cc',
        'epoll_operations.cc',
        'epoll_streams.cc',
        'js_batch.cc',
        'libuv_stream.cc',
        'loop_engine.cc',
        'memory.cc',
        'options.cc',
        'probe.cc',
        'send_batch.cc',
        'socket_calls.cc',
        'stream_backend.cc',
        'stream_engine.cc',
        'stream_object.cc',
        'uring_operations.cc',
        'uring_setup.cc',
        'uring_streams.cc',
      ],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      # Unthrowable: a worker that is terminated in a call of ours refuses every further call, and node-addon-api would abort.
      # With 64 bits there is nothing to choose, and musl has no fcntl64.
      'defines!': ['_FILE_OFFSET_BITS=64'],
      'defines': ['NAPI_VERSION=9', 'NAPI_DISABLE_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'cflags': ['-Wall', '-Wextra', '-Werror', '-fvisibility=hidden', '-O2'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-fexceptions'],
      'cflags_cc': ['-std=c++20', '-fno-exceptions', '-fno-rtti', '-fvisibility-inlines-hidden'],
      'libraries': ['<(liburing)'],
      'ldflags': ['-Wl,--exclude-libs,ALL'],
      'conditions': [
        ['sanitize==0', {
          'sources': ['runtime.cc'],
          'libraries': ['-lgcc'],
          'ldflags': ['-nodefaultlibs', '-Wl,--version-script=<(module_root_dir)/exports.map'],
        }],
        ['target_arch=="arm64"', {
          # The other kind asks the C library for the processor's features by a name that musl does not have.
          'cflags': ['-mno-outline-atomics'],
        }],
        ['sanitize==1', {
          # Not vptr: it needs a pipe to look at an object, and takes it for a broken one where a test has used up all descriptors.
          'cflags': ['-fsanitize=address,undefined', '-fno-sanitize=vptr', '-fno-sanitize-recover=undefined', '-fno-omit-frame-pointer', '-g', '-O1'],
          'ldflags': ['-fsanitize=address,undefined'],
          'defines': ['URING_NET_SANITIZE'],
        }],
      ],
    },
  ],
}
