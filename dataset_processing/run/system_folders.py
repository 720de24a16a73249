"""Folders that systems and programs put among people's music: what is in them is no game, and often a copy of one."""

from __future__ import annotations

import re

LEFT_OUT = "left out with all that is in it: "
"""Begins the reason for every such folder."""

# Whole names in lower case. Names with a dot in front are hidden everywhere, and stand here for their reason.
_NAMES = {
    "snapshots, which hold the same files as they were": (
        "#snapshot #snapshots @snapshot @snapshots ~snapshot ~snapshots .snapshot .snapshots .zfs .ckpt "
        "@recently-snapshot @sharesnap @sharesnapshot backups.backupdb .mobilebackups windowsimagebackup"
    ),
    "a bin of deleted files": (
        "#recycle @recycle .recycle $recycle.bin .trash .trashes #trash @trash trashbox "
        "@recycle.bin @recyclebin .recycle_bin .deleted .wastebasket files_trashbin"
    ),
    "previews and notes that a device makes of files": (
        "@eadir @__thumb .@__thumb .@__qini .thumbnails .thumbnail .thumbs .thumb @transcode .wdmc .wd_tv "
        ".picasaoriginals"
    ),
    "what a Mac keeps beside files on other disks": (
        "__macosx .appledouble .appledb .appledesktop .spotlight-v100 .fseventsd .temporaryitems "
        ".documentrevisions-v100 thefindbycontentfolder thevolumesettingsfolder .vol .pkinstallsandboxmanager"
    ),
    "what Windows keeps on every disk": "$extend $sysreset $winreagent config.msi msocache found.000 onedrivetemp",
    "what a disk check has found": "lost+found lost.dir",
    "what a program that copies or syncs keeps for itself": (
        ".stfolder .stversions .sync .syncthing .dropbox.cache .dropbox _gsdata_ .owncloudsync .rsync-partial "
        ".rslsync .resilio .tmp.drivedownload .tmp.driveupload .pcloud @synologydrive @cloudsync #synologydrive "
        "#work_file files_versions"
    ),
    "what a program keeps for itself": (
        ".git .svn .hg .bzr node_modules __pycache__ .venv .idea .vscode .cache @tmp @appstore @appdata @appconf "
        "@appshare @apphome @apptemp @database @docker @s2s @quarantine @userpreference @img_bkp_cache @download "
        "@synofinder-log @sharebin"
    ),
}
_REASONS = {name: reason for reason, names in _NAMES.items() for name in names.split()} | {
    # Names with spaces in them.
    "system volume information": "what Windows keeps on every disk",
    "network trash folder": "a bin of deleted files",
    "previous versions": "snapshots, which hold the same files as they were",
    "plex versions": "copies that a media server has made of files",
    "temporary items": "what a Mac keeps beside files on other disks",
    "automatically add to music.localized": "what a program keeps for itself",
    "automatically add to itunes.localized": "what a program keeps for itself",
}
# Windows' old bins are called by words that might be a game's name too, but in capitals.
_IN_CAPITALS = {"RECYCLER": "a bin of deleted files", "RECYCLED": "a bin of deleted files"}
# Systems give such names with numbers, dates and users in them: `.Trash-1000`, `@GMT-2026.01.01-00.00.00`, `FOUND.001`.
# A mark in front together with such a word is no game's name.
_PATTERNS = (
    (re.compile(r"[@#$~]+(gmt-\d|.*snapshot|sharesnap)"), "snapshots, which hold the same files as they were"),
    (re.compile(r"[@#$~.]+.*(recycle|trash)|(network )?recycle ?bin\b"), "a bin of deleted files"),
    (re.compile(r"[@#$~]+.*(thumb|eadir)"), "previews and notes that a device makes of files"),
    (re.compile(r"found\.\d{3}|\$windows\.~\w+"), "what Windows keeps on every disk"),
)


def why_left_out(name: str) -> str:
    """Why nothing in a folder of that name is read; "" for a folder like any other.

    Case does not matter: the same disk may be read through systems that spell such names differently.
    """
    plain = name.strip().casefold()
    reason = (
        _REASONS.get(plain)
        or _IN_CAPITALS.get(name)
        or next((why for pattern, why in _PATTERNS if pattern.match(plain)), "")
    )
    if reason:
        return LEFT_OUT + reason
    return LEFT_OUT + "a hidden folder (its name starts with a dot)" if name.startswith(".") else ""
