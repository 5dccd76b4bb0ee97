"""GLSL programs of the rasteriser."""

DEPTH_VERTEX = """
#version 330
invariant gl_Position;
in vec3 position;
uniform mat4 clip;
void main() { gl_Position = clip * vec4(position, 1); }
"""

DEPTH_FRAGMENT = """
#version 330
void main() {}
"""

SURFACE_VERTEX = """
#version 330
invariant gl_Position;
in vec3 position;
in vec3 normal;
in vec2 uv;
in vec2 tags;
uniform mat4 clip;
out vec3 world;
out vec3 smooth_normal;
out vec2 texel;
flat out vec2 slot_instance;
void main() {
    gl_Position = clip * vec4(position, 1);
    world = position;
    smooth_normal = normal;
    texel = uv;
    slot_instance = tags;
}
"""

# The shading normal is turned to the side of the visible face, and on silhouettes, where interpolation can
# make it lean away from the viewer, it is bent back to be perpendicular to the line of sight.
_FACING_NORMAL = """
vec3 facing_normal(vec3 n, vec3 p, vec3 to_eye) {
    n = normalize(n);
    vec3 face = cross(dFdx(p), dFdy(p));
    if (dot(face, to_eye) < 0) face = -face;
    if (dot(face, face) == 0.0) face = to_eye;
    if (dot(n, face) < 0) n = -n;
    float lean = dot(n, to_eye);
    return lean < 0 ? normalize(n - lean * to_eye) : n;
}
"""

GBUFFER_FRAGMENT = (
    """
#version 330
in vec3 world;
in vec3 smooth_normal;
flat in vec2 slot_instance;
uniform vec3 eye;
uniform vec4 viewer;
uniform mat3 to_camera;
layout(location = 0) out vec4 normal_depth;
layout(location = 1) out float instance;
"""
    + _FACING_NORMAL
    + """
void main() {
    vec3 n = facing_normal(smooth_normal, world, normalize(viewer.xyz - world * viewer.w));
    normal_depth = vec4(normalize(to_camera * n), -(to_camera * (world - eye)).z);
    instance = slot_instance.y;
}
"""
)

_EQUIRECTANGULAR = """
const float PI = 3.14159265;
vec3 light_from(vec3 d, float blur) {
    vec2 at = vec2(atan(d.y, d.x) / (2 * PI) + 0.5, acos(clamp(d.z, -1.0, 1.0)) / PI);
    return textureLod(environments, vec3(at, environment), blur).rgb;
}
"""

SHADE_FRAGMENT = (
    """
#version 330
in vec3 world;
in vec3 smooth_normal;
in vec2 texel;
flat in vec2 slot_instance;
uniform sampler2DArray textures;
uniform sampler2DArray environments;
uniform sampler2D materials;
uniform sampler2DShadow shadow_0;
uniform sampler2DShadow shadow_1;
uniform mat4 shadow_clips[2];
uniform vec4 viewer;
uniform vec4 lamps[4];
uniform vec3 lamp_colours[4];
uniform float environment;
uniform float ambient;
uniform float softness;
uniform mat3 to_camera;
uniform sampler2D behind_radiance;
uniform sampler2D behind_albedo;
layout(location = 0) out vec4 radiance;
layout(location = 1) out vec4 albedo_out;
"""
    + _FACING_NORMAL
    + _EQUIRECTANGULAR
    + """
// Three taps, turned anew at each of the four samples of a pixel.
float lit(int i, vec3 p) {
    vec4 q = shadow_clips[i] * vec4(p, 1);
    if (q.w <= 0.0) return 1.0;
    vec3 c = q.xyz / q.w * 0.5 + 0.5;
    if (any(lessThan(c.xy, vec2(0))) || any(greaterThan(c.xy, vec2(1))) || c.z > 1.0) return 1.0;
    c.z -= 0.0006;
    float turn = fract(sin(dot(gl_FragCoord.xy, vec2(12.9898, 78.233))) * 43758.5453) * 6.2832;
    float sum = 0;
    for (int k = 0; k < 3; k++) {
        float a = turn + k * 2.39996;
        vec2 o = vec2(cos(a), sin(a)) * sqrt((k + 0.5) / 3.0) * softness;
        sum += i == 0 ? texture(shadow_0, vec3(c.xy + o, c.z)) : texture(shadow_1, vec3(c.xy + o, c.z));
    }
    return sum / 3.0;
}

// Perturbs n by a height per screen pixel: the surface gradient method of Mikkelsen 2010.
vec3 bumped(vec3 n, float height) {
    vec3 dx = dFdx(world), dy = dFdy(world);
    vec3 rx = cross(dy, n), ry = cross(n, dx);
    float det = dot(dx, rx);
    vec3 gradient = sign(det) * (dFdx(height) * rx + dFdy(height) * ry);
    vec3 b = abs(det) * n - gradient;
    if (dot(b, b) < 1e-24) return n;
    b = normalize(b);
    return normalize(mix(n, b, clamp(dot(b, n) * 2.0, 0.0, 1.0)));
}

void main() {
    vec3 to_eye = normalize(viewer.xyz - world * viewer.w);
    vec3 flat_n = facing_normal(smooth_normal, world, to_eye);
    int slot = int(slot_instance.x + 0.5);
    vec4 m0 = texelFetch(materials, ivec2(0, slot), 0), m1 = texelFetch(materials, ivec2(1, slot), 0);
    vec4 m2 = texelFetch(materials, ivec2(2, slot), 0), m3 = texelFetch(materials, ivec2(3, slot), 0);
    vec2 m4 = texelFetch(materials, ivec2(4, slot), 0).xy;
    float c = cos(m3.y), s = sin(m3.y);
    vec4 t = texture(textures, vec3(mat2(c, s, -s, c) * texel * m0.y + vec2(m3.y * 7.0, m3.z * 50.0), m0.x));
    vec3 painted = t.rgb * t.rgb;
    float light = clamp(dot(painted, vec3(0.3, 0.6, 0.1)) * 1.6, 0.0, 1.0);
    vec3 base = mix(painted * m1.rgb, mix(m2.rgb, m1.rgb, light), m2.a);
    vec3 n = m0.z > 0.0 ? bumped(flat_n, t.a * m0.z) : flat_n;
    if (dot(n, to_eye) < 0.0) n = flat_n;

    float rough = clamp(m0.w, 0.05, 1.0), alpha = rough * rough, nv = clamp(dot(n, to_eye), 1e-3, 1.0);
    vec3 f0 = mix(vec3(m3.z), base, m1.a);
    vec3 diffuse = base * (1 - m1.a) * (1 - m3.w);
    vec3 sum = vec3(0);
    for (int i = 0; i < 4; i++) {
        if (dot(lamp_colours[i], lamp_colours[i]) == 0.0) continue;
        vec3 l = lamps[i].xyz - world * lamps[i].w;
        float fall = lamps[i].w > 0.5 ? 1.0 / (dot(l, l) + 0.02) : 1.0;
        l = normalize(l);
        float nl = dot(n, l), around = (nl + m4.x) / ((1 + m4.x) * (1 + m4.x));  // light creeps round edges
        if (around <= 0.0) continue;
        float seen = i < 2 ? lit(i, world + flat_n * (0.006 + 0.02 * (1 - dot(flat_n, l)))) : 1.0;
        seen = mix(seen, 1.0, 0.6 * m4.x);
        nl = max(nl, 0.0);
        if (seen == 0.0) continue;
        vec3 h = normalize(l + to_eye);
        float nh = max(dot(n, h), 0.0), d = nh * nh * (alpha * alpha - 1) + 1, k = alpha * 0.5 + 1e-3;
        float lobe = alpha * alpha / (PI * d * d) / ((nl * (1 - k) + k) * (nv * (1 - k) + k) * 4.0);
        vec3 fresnel = f0 + (1 - f0) * pow(1 - clamp(dot(h, to_eye), 0.0, 1.0), 5.0);
        sum += lamp_colours[i] * fall * seen * (diffuse / PI * around + nl * min(lobe, 20.0) * fresnel);
    }
    vec3 mirror = f0 + (max(vec3(1 - rough), f0) - f0) * pow(1 - nv, 5.0);
    sum += ambient * mirror * light_from(reflect(-to_eye, n), 1.0 + rough * 5.0);
    float opaque = 1.0;
    if (m3.w > 0.0) {  // what lies behind, shifted; at grazing angles the surroundings instead
        vec2 size = vec2(textureSize(behind_radiance, 0));
        vec2 shift = (to_camera * n).xy * (0.015 + 0.12 * m4.y) * (1.5 - nv);
        vec2 at = clamp(gl_FragCoord.xy / size - shift, 0.0, 0.999);
        vec4 back = texture(behind_radiance, at);
        vec3 skylight = ambient * light_from(vec3(0, 0, 1), 5.5);
        vec3 seen_light = back.rgb + texture(behind_albedo, at).rgb * back.a * skylight;
        float rim = (1 - nv) * (1 - nv), reflected = 2.0 * (m3.z + (1 - m3.z) * pow(1 - nv, 5.0));
        float passes = m3.w * (1 - min(reflected, 1.0));
        vec3 through = pow(max(m1.rgb, vec3(0.01)), vec3(min(0.6 + 0.4 / nv, 3.0)));
        seen_light = mix(seen_light, ambient * light_from(refract(-to_eye, n, 0.75), 1.5), 0.7 * rim);
        sum += passes * through * seen_light;
        opaque = 1 - passes * (1 - 0.7 * rim) * dot(through, vec3(0.333)) * (1 - back.a);
    }
    sum += m3.x * m1.rgb;
    radiance = vec4(min(sum, vec3(60.0)), opaque);
    albedo_out = vec4(diffuse, 1);
}
"""
)

SCREEN_VERTEX = """
#version 330
in vec2 corner;
void main() { gl_Position = vec4(corner, 0, 1); }
"""

# Averages 2 x 2 colour samples, and adds ambient light, its occlusion and one bounce, both from the G-buffer.
RESOLVE_FRAGMENT = (
    """
#version 330
uniform sampler2D radiance;
uniform sampler2D albedo;
uniform sampler2D normal_depth;
uniform sampler2DArray environments;
uniform float environment;
uniform float ambient;
uniform mat3 to_camera;
uniform float half_tan;
uniform float half_width;
uniform float reach;
uniform float occlusion;
uniform float bounce;
uniform float show_sky;
layout(location = 0) out vec4 colour;
"""
    + _EQUIRECTANGULAR
    + """
void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    vec3 sum = vec3(0), base = vec3(0);
    float covered = 0;
    for (int k = 0; k < 4; k++) {
        ivec2 at = pixel * 2 + ivec2(k & 1, k >> 1);
        vec4 sample_light = texelFetch(radiance, at, 0);
        sum += sample_light.rgb;
        covered += sample_light.a;
        base += texelFetch(albedo, at, 0).rgb * sample_light.a;
    }
    vec2 uv = gl_FragCoord.xy / vec2(textureSize(normal_depth, 0));
    bool parallel = half_width > 0.0;
    vec3 ray = parallel ? vec3(0, 0, -1) : vec3((uv * 2 - 1) * half_tan, -1);
    vec3 start = parallel ? vec3((uv * 2 - 1) * half_width, 0) : vec3(0);
    vec4 here = texelFetch(normal_depth, pixel, 0);
    if (covered > 0 && here.w > 0) {
        vec3 n = here.xyz, p = start + ray * here.w;
        vec3 tx = normalize(cross(n, abs(n.x) < 0.8 ? vec3(1, 0, 0) : vec3(0, 1, 0))), ty = cross(n, tx);
        float phase = fract(sin(dot(gl_FragCoord.xy, vec2(12.9898, 78.233))) * 43758.5453);
        float hidden = 0;
        vec3 near_light = vec3(0);
        for (int k = 0; k < 14; k++) {
            float f = (k + phase) / 14.0, a = k * 2.39996 + phase * 6.2832;
            vec3 d = (tx * cos(a) + ty * sin(a)) * sqrt(f) + n * sqrt(1 - f);
            vec3 q = p + d * (reach * fract(0.618 * k + phase + 0.1) + 0.004 * here.w) + n * 0.003 * here.w;
            if (q.z > -0.01) continue;
            vec2 at = q.xy / (parallel ? half_width : -q.z * half_tan) * 0.5 + 0.5;
            if (any(lessThan(at, vec2(0))) || any(greaterThan(at, vec2(1)))) continue;
            float depth = texture(normal_depth, at).w;
            float behind = -q.z - depth;
            if (depth <= 0.0 || behind < 0.002 * here.w) continue;
            float weight = smoothstep(2.0 * reach, 0.5 * reach, behind);
            hidden += weight;
            near_light += weight * texture(radiance, at).rgb;
        }
        vec3 n_world = transpose(to_camera) * n;
        float open = pow(1 - hidden / 14.0, occlusion);
        sum += base * (ambient * light_from(n_world, 4.6) * open + near_light / 14.0 * bounce);
    } else if (covered > 0) {
        sum += base * ambient * light_from(transpose(to_camera) * vec3(0, 0, 1), 5.0);
    }
    vec3 behind_all = light_from(normalize(transpose(to_camera) * ray), 0.0);
    colour = mix(vec4(sum, covered) / 4.0, vec4(sum / 4.0 + behind_all * (1 - covered / 4.0), 1), show_sky);
}
"""
)
