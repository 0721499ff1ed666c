// Realtek RTL8139C(L) datasheet, revision 1.4, chapter 5: registers.
export const IDR0 = 0x00;
export const MAR0 = 0x08;
export const TSD0 = 0x10;
export const TSAD0 = 0x20;
export const RBSTART = 0x30;
export const ERBCR = 0x34;
export const ERSR = 0x36;
export const CR = 0x37;
export const CAPR = 0x38;
export const CBR = 0x3a;
export const IMR = 0x3c;
export const ISR = 0x3e;
export const TCR = 0x40;
export const RCR = 0x44;
export const TCTR = 0x48;
export const MPC = 0x4c;
export const CR9346 = 0x50;
export const CONFIG0 = 0x51;
export const CONFIG1 = 0x52;
export const TIMER_INT = 0x54;
export const MSR = 0x58;
export const CONFIG3 = 0x59;
export const CONFIG4 = 0x5a;
export const MULINT = 0x5c;
export const RERID = 0x5e;
export const TSAD = 0x60;
export const BMCR = 0x62;
export const BMSR = 0x64;
export const ANAR = 0x66;
export const ANLPAR = 0x68;
export const ANER = 0x6a;
export const NWAYTR = 0x70;
export const CSCR = 0x74;
export const PHY1_PARM = 0x78;
export const TW_PARM = 0x7c;
export const PHY2_PARM = 0x80;
export const CRC0 = 0x84;
export const CONFIG5 = 0xd8;
export const BYTES = 256;

export const CR_BUFE = 0x01;
export const CR_TE = 0x04;
export const CR_RE = 0x08;
export const CR_RST = 0x10;

export const INT_ROK = 0x0001;
export const INT_TOK = 0x0004;
export const INT_TER = 0x0008;
export const INT_RXOVW = 0x0010;
export const INT_LINK = 0x0020;
export const INT_TIMEOUT = 0x4000;
export const INT_ALL = 0xe07f;

export const TSD_SIZE = 0x1fff;
export const TSD_OWN = 1 << 13;
export const TSD_TUN = 1 << 14;
export const TSD_TOK = 1 << 15;
export const TSD_TABT = 1 << 30;
export const TSD_CRS = 0x8000_0000;

export const TCR_LOOPBACK = 3 << 17;
/** HWVERID of an RTL8139C. */
export const TCR_VERSION = 0x7400_0000;

export const RCR_AAP = 0x01;
export const RCR_APM = 0x02;
export const RCR_AM = 0x04;
export const RCR_AB = 0x08;
export const RCR_WRAP = 0x80;

export const RX_ROK = 0x0001;
export const RX_BAR = 0x2000;
export const RX_PAM = 0x4000;
export const RX_MAR = 0x8000;
export const RX_HEADER_BYTES = 4;

export const CR9346_MODE = 0xc0;
export const MODE_PROGRAM = 0x80;
export const MODE_CONFIG = 0xc0;
export const CR9346_EECS = 0x08;
export const CR9346_EESK = 0x04;
export const CR9346_EEDI = 0x02;
export const CR9346_EEDO = 0x01;

export const BMCR_RESET = 0x8000;
export const BMCR_RESTART = 0x0200;
export const BMSR_LINK = 0x0024;
export const MSR_LINKB = 0x04;
/** In the upper byte; cleared by reading. */
export const CSCR_LINK_CHANGED = 0x08;
